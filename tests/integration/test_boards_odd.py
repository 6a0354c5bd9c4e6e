"""Boards as they are: odd names, few tools, full disks, doors that stay shut; and what a user sees and decides."""

from __future__ import annotations

import subprocess

import psutil
import pytest
from boardsuite import BoardSuite
from sshd import busybox, keygen, until

ODD = 'it\'s a $(touch pwned) `touch pwned` "day" 任务'
# A child that has let go of everything that it was given.
STRAY = 'sleep 86399 < /dev/null > /dev/null 2>&1 & echo $! > "$ASKED"\n'


def times(factor, samples=6, name="{}.txt"):
    return {name.format(number): str(number * factor) for number in range(samples)}


def test_odd_names_are_names(tmp_path, boards):
    """Models, datasets and samples with spaces, quotes and commands: told as they are, and nothing of them runs."""
    suite = BoardSuite(tmp_path / "w s", boards(), models=0, datasets=0)
    (suite.evals / f"m {ODD}.txt").write_text("3\n")
    (suite.evals / ODD).mkdir()
    for number in range(6):
        (suite.evals / ODD / f"{number} {ODD}.txt").write_text(f"{number}\n")
    # CSV of names with quotes is more than a shell wants to write.
    text = (suite.evals / "ask.sh").read_text().replace("echo id,answer >", ": >").replace("answers.csv", "answers.txt")
    (suite.evals / "ask.sh").write_text(
        text.replace('"${f##*/},', '"${f##*/}') + 'while IFS= read -r f; do cp "$f" "$3/"; done < "$2"\n'
    )
    suite.write(results={"files": "{id}"})
    ran = suite.pytest("-n1")
    assert ran.code == 0, ran
    (out,) = [path for path in (suite.run / "outputs").rglob("*") if path.name.startswith("0 it's")]
    assert out.read_text() == "0\n"
    assert not [*tmp_path.rglob("pwned")]
    assert suite.left() == []


def has_ended(pid):
    """A PID that came round is another program."""
    try:
        return "86399" not in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("kind", ["busybox", "no sftp", "link"])
def test_boards_that_have_little(tmp_path, boards, kind):
    """BusyBox alone, no SFTP, a home that is a link: the same predictions, and what a program left behind has ended."""
    how = {"path": busybox(tmp_path / "bin"), "sftp": False} if kind == "busybox" else {"sftp": kind != "no sftp"}
    (board,) = boards(**how)
    suite = BoardSuite(tmp_path / "w", [board])
    file = tmp_path / "stray"
    (suite.evals / "ask.sh").write_text((suite.evals / "ask.sh").read_text() + STRAY)
    env = {"ASKED": str(file)}
    if kind == "link":
        (board.home / "real").mkdir()
        (board.home / "link").symlink_to("real")
        env["REMOTE_TASK_HOME"] = f"{board.home}/link"
    suite.write(env=env)
    ran = suite.pytest()
    assert ran.code == 0, ran
    assert suite.predictions() == times(1)
    assert [path.name for path in board.home.rglob("task_*")] == []
    if kind == "link":
        assert (board.home / "real" / ".model_cache").is_dir()

    until(lambda: has_ended(int(file.read_text())), 30)


@pytest.mark.parametrize("what", ["model", "inputs", "answers"])
def test_a_full_disk_on_a_board_is_an_error_with_its_reason(tmp_path, boards, what):
    """Nothing is left there, and no board is set aside for it."""
    (board,) = boards()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", board.home], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted: {made.stderr.strip()}")
    try:
        suite = BoardSuite(tmp_path / "w", [board], samples=2)
        big = {"model": suite.evals / "m1.txt", "inputs": suite.evals / "a" / "0.txt"}.get(what)
        if big is None:
            text = (suite.evals / "ask.sh").read_text()
            (suite.evals / "ask.sh").write_text(f'{text}head -c 2000000 /dev/zero > "$3/big" || exit 1\n')
        else:
            big.write_text("1" + " " * 2_000_000 + "\n")
        suite.write(retries=0)
        ran = suite.pytest()
        assert ran.code == 1, ran
        assert "ERROR   evals/m1/a" in ran
        assert "No space left on device" in ran or "space" in ran, ran
        assert "set aside" not in ran
        assert suite.left() == []
        assert [path for path in (board.home / ".model_cache").glob("[!.]*") if what == "model"] == []
    finally:
        subprocess.run(["umount", "-l", board.home], check=True)


def wrong_key(board, place):
    return {"identity_file": str(keygen(place / "another"))}, 1, "does not let "


def wrong_password(board, place):
    return {"identity_file": str(place / "none"), "password_env": "BOARD_PASSWORD"}, 1, "the password in BOARD_PASSWORD"


def changed_host_key(board, place):
    board.know(keygen(place / "other"))
    return {}, 4, "ssh-keygen -R"


def pinned(board, place):
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{board.host_key}.pub"], capture_output=True, text=True, check=True
    ).stdout
    return {"host_key": shown.split()[1], "known_hosts": str(place / "none")}, 0, "PASSED"


def pinned_wrong(board, place):
    return {"host_key": "SHA256:" + "A" * 43}, 4, "its host key is not the pinned one"


def accepted(board, place):
    return {"host_key": "accept-new", "known_hosts": str(place / "new")}, 0, "PASSED"


@pytest.mark.parametrize("door", [wrong_key, wrong_password, changed_host_key, pinned, pinned_wrong, accepted])
def test_doors(tmp_path, boards, door):
    """Whom we do not know is a usage error before anything starts; who does not know us is set aside, with reasons."""
    (board,) = boards(extra="PasswordAuthentication yes")
    suite = BoardSuite(tmp_path / "w", [board])
    fields, code, told = door(board, tmp_path)
    suite.write(devices=suite.devices(**fields))
    ran = suite.pytest(BOARD_PASSWORD="wrong")
    assert ran.code == code, ran
    assert told in ran
    assert "Traceback" not in ran
    if code == 4:
        assert "SHA256:" in ran
        assert not (suite.root / "outputs").exists()
    if code == 1:
        assert "board b1 set aside: " in ran
        assert "ERROR   evals/m1/a" in ran
    if door is accepted:
        assert "ssh-ed25519" in (tmp_path / "new").read_text()


@pytest.mark.parametrize("option", ["-s", "-v"])
def test_output_is_shown_as_it_comes(tmp_path, boards, option):
    """Under the name of the pair, whole lines at a time, before the program has ended."""
    suite = BoardSuite(tmp_path / "w", boards(), samples=2)
    go = tmp_path / "go"
    wait = 'printf "half a "; echo line\nuntil [ -e "$GO" ]; do sleep 0.05; done\n'
    (suite.evals / "ask.sh").write_text((suite.evals / "ask.sh").read_text() + wait)
    suite.write(env={"GO": str(go)})
    process = suite.project.start("evals", "-n1", option)
    try:
        line = next(line for line in process.stdout if "half a line" in line)
        go.touch()
        rest, _ = process.communicate(timeout=60)
    finally:
        go.touch()
        process.wait(60)
    assert line == "[evals/m1/a] half a line\n"
    assert process.returncode == 0, rest


@pytest.mark.parametrize("policy", ["0", "1", "2"])
def test_who_keeps_what(tmp_path, boards, policy):
    """CLEANUP_SHARED_MODELS: 0 all models, 1 those of others, 2 none. CLEANUP_REMOTE_WORKDIR=0: work directories."""
    (board,) = boards()
    home = board.home / "far" / "away"
    (home / ".model_cache").mkdir(parents=True)
    (home / ".model_cache" / "of_another_model.bin").write_text("x")
    suite = BoardSuite(tmp_path / "w", [board], datasets=2)
    env = {"CLEANUP_SHARED_MODELS": policy, "REMOTE_TASK_HOME": str(home), "CLEANUP_REMOTE_WORKDIR": "0"}
    suite.write(env=env)
    ran = suite.pytest()
    assert ran.code == 0, ran
    assert {path.name for path in (home / ".model_cache").glob("[!.]*")} == {
        "0": {"m1_model.txt", "of_another_model.bin"},
        "1": {"of_another_model.bin"},
        "2": set(),
    }[policy]
    assert (home / ".model_cache").exists() is (policy != "2")
    assert sorted(path.name for path in home.glob("task_*")) == ["task_m1_a", "task_m1_b"]
    assert (home / "task_m1_a" / "suite" / "ask.sh").is_file()
    assert suite.left() == ["far"]
