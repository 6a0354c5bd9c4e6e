"""The launch directory: each thing is made once, whoever asks first and whatever dies meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.plugin.launch import LaunchDir, sweep_launches
from pytest_evalrun.rundir.locks import FileLock

ASKING = """
import sys
from pathlib import Path
from pytest_evalrun.plugin.launch import LaunchDir

def make():
    with open(sys.argv[2], "a") as file:
        file.write("made\\n")
    return "任务 of " + sys.argv[3]

input()
print(LaunchDir(Path(sys.argv[1])).once("pairs.json", make).rpartition(" ")[2])
"""


@pytest.fixture
def launch(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    launch = LaunchDir()
    yield launch
    launch.remove()


def test_processes_get_what_the_first_one_found(launch, tmp_path):
    """However many ask at once: one makes it, and all have the same text."""
    command = [sys.executable, "-c", ASKING, str(launch.path), str(tmp_path / "made")]
    asking = [
        subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in range(3)
    ]
    for process in asking:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate()[0].strip() for process in asking}
    assert len(answers) == 1
    assert (tmp_path / "made").read_text() == "made\n"
    assert launch.once("pairs.json", pytest.fail) == f"任务 of {answers.pop()}"


def test_threads_wait_for_each_other(launch):
    """A second one that asks while the first is still at it gets the first one's."""
    made = []

    def make():
        made.append(1)
        return str(len(made))

    with ThreadPoolExecutor(4) as pool:
        assert {*pool.map(lambda _: launch.once("a", make), range(8))} == {"1"}


def test_names_are_things_of_their_own(launch):
    """Nothing is there before it is published; what is published again is replaced whole."""
    assert launch.read("a") is None
    assert not launch.path.exists()
    launch.publish("a", "one")
    launch.publish("a", "two")
    assert launch.once("b", lambda: "b") == "b"
    assert (launch.read("a"), launch.read("b"), launch.read("c")) == ("two", "b", None)
    assert sorted(path.name for path in launch.path.iterdir()) == ["a", "alive", "b", "lock"]


def test_who_fails_leaves_it_to_the_next(launch):
    """An error publishes nothing and holds no lock."""
    with pytest.raises(ZeroDivisionError):
        launch.once("a", lambda: str(1 / 0))
    assert launch.once("a", lambda: "second") == "second"


def test_the_directory_is_its_users_alone(launch):
    """Nobody else may plant a list of pairs there; its name cannot be guessed, and it is gone in the end."""
    launch.publish("a", "text")
    assert launch.path.stat().st_mode & 0o777 == 0o700
    assert LaunchDir().path != LaunchDir().path
    assert LaunchDir(launch.path).read("a") == "text"
    launch.remove()
    launch.remove()
    assert not Path(launch.path).exists()


def test_what_another_has_put_in_its_place_is_not_believed(launch, tmp_path):
    """A link in place of the directory is refused: nothing is written through it, and what was read is not used."""
    launch.path.symlink_to(tmp_path)
    (tmp_path / "planted").write_text("pairs")
    with pytest.raises(ConfigError, match="it is a symbolic link"):
        launch.read("planted")
    (tmp_path / "planted").unlink()
    with pytest.raises(ConfigError, match="cannot be used for this launch: it is a symbolic link"):
        launch.publish("a", "text")
    with pytest.raises(ConfigError, match="it is a symbolic link"):
        launch.once("b", lambda: "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == [launch.path.name]
    launch.path.unlink()


WORKING = """
import sys
from pathlib import Path
from pytest_evalrun.plugin.launch import LaunchDir

LaunchDir(Path(sys.argv[1])).publish("launch.json", "{}")
print("there", flush=True)
input()
"""


def test_only_what_a_dead_launch_has_left_is_swept(tmp_path, monkeypatch):
    """Not one of which a process lives, one that begins, one of others or open to them, or a link."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, living, begins, others, link = (tmp_path / f"evalrun-{digit * 32}" for digit in "abcde")
    command = [sys.executable, "-c", WORKING]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen([*command, str(dead)], **pipes) as one,
        subprocess.Popen([*command, str(living)], **pipes) as two,
    ):
        assert one.stdout.readline() == two.stdout.readline() == b"there\n"
        sweep_launches()
        assert dead.exists()
        os.kill(one.pid, signal.SIGKILL)
        one.wait()
        begins.mkdir(mode=0o700)
        others.mkdir()
        others.chmod(0o755)
        (others / "alive").touch()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        (tmp_path / "elsewhere" / "alive").touch()
        link.symlink_to("elsewhere")
        sweep_launches()
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left == ["elsewhere", *(path.name for path in (living, begins, others, link))]
        two.communicate(b"\n")


def test_whoever_begins_in_a_directory_that_is_swept_makes_it_anew(tmp_path):
    """Another launch may find the file that tells of life before it is locked: and makes it anew."""
    place = tmp_path / f"evalrun-{'0' * 32}"
    place.mkdir(mode=0o700)
    with FileLock(place / "alive") as swept:
        assert swept.take()
        with ThreadPoolExecutor(1) as pool:
            begun = LaunchDir(place)
            publishing = pool.submit(begun.publish, "pairs.json", "found")
            shutil.rmtree(place)
            swept.close()
            publishing.result()
    assert begun.read("pairs.json") == "found"
    begun.remove()
