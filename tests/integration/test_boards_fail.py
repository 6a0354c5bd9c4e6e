"""Boards that go away in the middle, and sessions that do: nothing is lost, nothing is asked twice, nothing stays."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from badlink import Relay
from boardsuite import BoardSuite
from sshd import until
from support import kill_group

from pytest_evalrun.remote.watchdog import PREFIX

# Answers carry as much as their questions, and each program tells that it has begun.
FAT = """\
echo start >> "$ASKED"
m=$(cat "$1")
echo id,answer > "$3/answers.csv"
while IFS= read -r f; do
    echo "${f##*/}" >> "$ASKED"
    echo "${f##*/},$(($(cat "$f") * m))" >> "$3/answers.csv"
    cp "$f" "$3/"
    sleep "${DELAY:-0}"
done < "$2"
"""
PADDING = " " * 400_000


def times(factor, samples):
    return {f"{number}.txt": str(number * factor) for number in range(samples)}


def asked(file):
    """How often each sample was asked."""
    return Counter(line for line in file.read_text().splitlines() if line != "start") if file.exists() else Counter()


@pytest.fixture
def relayed():
    """A way to a board that can be cut; the suite speaks of no other."""
    relays = []

    def to(suite, number):
        board = suite.boards[number - 1]
        relay = Relay(board.port)
        relays.append(relay)
        board.know(board.host_key, f"[127.0.0.1]:{board.port}", f"[127.0.0.1]:{relay.port}")
        suite.ports[number] = relay.port
        return relay

    yield to
    for relay in relays:
        relay.close()


@pytest.fixture
def started():
    """Sessions of pytest that end with the test, whatever becomes of it."""
    processes = []

    def start(suite, *args, **env):
        processes.append(suite.project.start("evals", *args, **env))
        return processes[-1]

    yield start
    for process in processes:
        kill_group(process)


def test_a_board_that_drops_is_left_to_the_others(tmp_path, boards, relayed, started):
    """Five workers, three boards, one cut off: all pass with the same predictions, and each model went once a board."""
    suite = BoardSuite(tmp_path / "w", boards(3), models=3, datasets=2, samples=8).impatient(reconnect=2)
    relay = relayed(suite, 2)
    file = suite.counting(delay=0.1)
    process = started(suite, "-n5")
    until(lambda: sum(asked(file).values()) >= 8 and relay.sent > 20_000, 60)
    relay.cut(refuse=True)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert output.count("PASSED") == 6, output
    for model in (1, 2, 3):
        assert [suite.predictions(f"m{model}", d) for d in "ab"] == [times(model, 8)] * 2
    uploads = Counter((event["model"], event["device"]) for event in suite.events("uploaded"))
    assert set(uploads.values()) == {1}, uploads
    logs = "".join(path.read_text() for path in (suite.run / "logs").rglob("*.log"))
    assert "device b2 is set aside: " in logs
    assert {event["device"] for event in suite.events("slot_taken")} == {"b1", "b2", "b3"}
    assert [path.name for number in (0, 2) for path in suite.boards[number].home.glob("task_*")] == []


@pytest.mark.parametrize("during", ["upload", "run", "download"])
def test_a_batch_whose_board_was_lost_for_a_moment_is_done_again(tmp_path, boards, relayed, started, during):
    """Connections and sshd killed and back after a second: counted as a retry, and what was back is not asked again."""
    suite = BoardSuite(tmp_path / "w", boards(), samples=12).impatient(reconnect=20)
    for number in range(12):
        (suite.evals / "a" / f"{number}.txt").write_text(f"{number}{PADDING}\n")
    (board,), relay = suite.boards, relayed(suite, 1)
    file = suite.counting(delay=0.2)
    (suite.evals / "ask.sh").write_text(FAT)
    if during == "upload":
        relay.cut_after(round(6.5 * len(PADDING)), refuse=True)
    elif during == "download":
        relay.cut_after_receiving(round(4.5 * len(PADDING)), refuse=True)
    process = started(suite)
    if during == "run":
        until(lambda: sum(asked(file).values()) >= 7, 60)
        relay.cut(refuse=True)
    until(lambda: relay.cuts, 60)
    board.stop()
    time.sleep(1)
    board.start()
    relay.mend()
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert suite.predictions() == times(1, 12)
    state = (suite.run / "state" / "evals" / "m1" / "a.state").read_text()
    assert int(re.search(r"RUNNING_RETRY_COUNT=(\d+)", state)[1]) >= 1
    assert suite.events("batch_retried")
    often = asked(file)
    assert sorted(often) == sorted(times(1, 12))
    # Of six batches one was running and one on its way back when the link went.
    assert sum(count > 1 for count in often.values()) <= 4, often
    assert [often[f"{number}.txt"] for number in (0, 1)] == [1, 1]
    until(lambda: suite.left() == [])


def test_when_all_boards_have_gone_the_rest_is_an_error_and_the_next_run_asks_what_is_missing(
    tmp_path, boards, started
):
    """Each board is named with its reason; nothing that was answered is asked again."""
    suite = BoardSuite(tmp_path / "w", boards(2), models=2, datasets=2, samples=12).impatient(reconnect=1)
    file = suite.counting(delay=0.1)
    process = started(suite, "-n2")
    until(lambda: sum(asked(file).values()) >= 10, 60)
    for board in suite.boards:
        board.stop()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert output.count("ERROR   evals/") == 4, output
    for name in ("b1", "b2"):
        assert re.search(rf"device {name}: set aside: .*(connection|reached)", output), output
    assert "Traceback" not in output
    done = {(m, d): set(suite.predictions(m, d)) for m in ("m1", "m2") for d in "ab" if suite.has(m, d)}
    assert done
    file.unlink()
    for board in suite.boards:
        board.start()
    ran = suite.pytest("-n2")
    assert ran.code == 0, ran
    for model in (1, 2):
        assert [suite.predictions(f"m{model}", d) for d in "ab"] == [times(model, 12)] * 2
    missing = Counter(name for m in ("m1", "m2") for d in "ab" for name in set(times(1, 12)) - done.get((m, d), set()))
    assert asked(file) == missing
    assert suite.left() == []


SLOW = """\
echo $$ >> "$ASKED"
sleep 86400 &
echo $! >> "$ASKED"
wait
"""


def slow(suite, **more):
    """A program that never answers, and has a child; the file that names both, by their PIDs."""
    file = suite.root / "pids.txt"
    (suite.evals / "slow.sh").write_text(SLOW)
    suite.write(command="sh slow.sh {model} {batch} {output}", env={"ASKED": str(file)}, **more)
    return file


def pids(file, count=2):
    """Once they are told."""
    until(lambda: file.exists() and len(file.read_text().split()) >= count, 60)
    return [int(pid) for pid in file.read_text().split()]


def gone(pid):
    """A PID that came round is another program."""
    try:
        return "slow.sh" not in (words := psutil.Process(pid).cmdline()) and words != ["sleep", "86400"]
    except psutil.NoSuchProcess:
        return True


def test_a_program_over_its_limit_ends_with_its_children_and_the_worker_goes_on(tmp_path, boards):
    """An ERROR for its pair; the next one runs on the same board."""
    suite = BoardSuite(tmp_path / "w", boards(), datasets=2)
    file = tmp_path / "pids.txt"
    (suite.evals / "ask.sh").write_text(
        f"case $3 in *task_m1_a/*)\n{SLOW}\nesac\n" + (suite.evals / "ask.sh").read_text()
    )
    suite.write(timeout=3, env={"ASKED": str(file)})
    ran = suite.pytest()
    assert ran.code == 1, ran
    assert "ERROR   evals/m1/a  timed out after 3 s" in ran, ran
    assert "PASSED  evals/m1/b" in ran
    until(lambda: all(map(gone, pids(file))), 30)
    until(lambda: suite.left() == [])


def test_ctrl_c_leaves_nothing_on_a_board(tmp_path, boards, started):
    """The programs end with their children, the work directory goes, the pair is pending."""
    suite = BoardSuite(tmp_path / "w", boards())
    file = slow(suite)
    process = started(suite, "-n1")
    running = pids(file)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    until(lambda: all(map(gone, running)), 30)
    assert "-a|0\n" in (suite.run / ".task_list").read_text()
    until(lambda: suite.left() == [])
    assert not list((suite.boards[0].home / ".model_cache").glob("*.txt"))


def test_after_kill_9_the_board_ends_by_itself_and_the_next_run_completes(tmp_path, boards, started):
    """Launching process and workers at once: nobody is left to say goodbye."""
    suite = BoardSuite(tmp_path / "w", boards()).impatient()
    file = slow(suite)
    process = started(suite, "-n1")
    running = pids(file)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    until(lambda: all(map(gone, running)), 30)
    assert suite.left() == ["task_m1_a"]
    owner = (suite.boards[0].home / "task_m1_a" / ".evalrun-owner").read_text()
    until(lambda: not Path(f"{PREFIX}{owner.partition('.')[0]}").exists(), 30)
    suite.write()
    ran = suite.pytest("-n1")
    assert ran.code == 0, ran
    assert "board b1: removed 1 work directory of a session that died: task_m1_a" in ran
    assert suite.predictions() == times(1, 6)
    assert suite.left() == []


def test_two_sessions_never_have_one_board_at_once(tmp_path, boards, started):
    """Its slots are counted across all sessions of the host, whichever suite they are of."""
    board = boards()
    suites = [BoardSuite(tmp_path / name, board, samples=4) for name in ("one", "two")]
    log, here = tmp_path / "log.txt", tmp_path / "here"
    alone = (
        f'if mkdir "{here}"; then echo alone >> "{log}"; else echo together >> "{log}"; fi\nm=$(cat "$1")\nsleep 0.3\n'
    )
    for suite in suites:
        text = (suite.evals / "ask.sh").read_text()
        (suite.evals / "ask.sh").write_text(text.replace('m=$(cat "$1")\n', alone) + f'rmdir "{here}"\n')
    processes = [started(suite) for suite in suites]
    for process in processes:
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 0, output
    assert log.read_text().split() == ["alone"] * 4
    waited = [path.read_text() for suite in suites for path in (suite.run / "logs" / "infer").rglob("a.log")]
    assert any("waiting for " in text and "leased by process" in text for text in waited)
