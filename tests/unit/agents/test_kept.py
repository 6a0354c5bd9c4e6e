"""Programs that are kept running: started anew, later each time, and given up in the end."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_evalrun.agents.launch import kept as kept_module
from pytest_evalrun.agents.launch.kept import Kept
from pytest_evalrun.agents.launch.pool import child_of
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 30
LASTS = "import time; time.sleep(1000)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "FIRST_PAUSE_SECONDS", 0.01)


@contextmanager
def kept_program(root: Path, code: str, *, strict: bool = False) -> Iterator[tuple[Kept, list[str]]]:
    told: list[str] = []
    argv = [sys.executable, "-c", code]
    program = Kept("it", lambda: child_of(argv, {}, root, None, "it"), say=told.append, strict=strict, grace=1)
    try:
        yield program, told
    finally:
        program.end(0)


def look_until(program: Kept, condition: Callable[[], bool]) -> None:
    def looked() -> bool:
        program.look()
        return condition()

    assert wait_until(looked, SECONDS, 0.01)


def test_what_never_is_ready_is_given_up_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    """A program that ends again and again before it is ready is started five times, and its output says why."""
    with kept_program(tmp_path, "import sys; sys.exit('no data')") as (program, told):
        look_until(program, lambda: program.is_given_up)
        ends = [line for line in told if "started again" in line]
        assert ends == [
            f"it: ended with exit code 1; started again in {pause:g} s" for pause in (0.01, 0.02, 0.04, 0.08)
        ]
        assert told[-2:] == ["it: ended with exit code 1, 5 times in a row", "it: given up"]
        assert "no data" in str(program.failure)
        assert not program.is_running


def test_what_was_ready_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that was ready for a while may end as often as it likes: the pause does not grow."""
    monkeypatch.setattr(kept_module, "STEADY_SECONDS", 0.0)
    with kept_program(tmp_path, LASTS) as (program, told):
        for _ in range(kept_module.TRIES + 1):
            look_until(program, lambda: program.is_running)
            program.became_ready()
            os.kill(program.pids[1], signal.SIGKILL)
            look_until(program, lambda: not program.is_running)
        assert not program.is_given_up
        assert {line for line in told if "again" in line} == {"it: was ended by SIGKILL; started again in 0.01 s"}


def test_strict_gives_up_what_ended_by_itself_alone(tmp_path: Path) -> None:
    """With strict an exit code before it is ready is final at once; a signal is an accident, tried again."""
    with kept_program(tmp_path, "import sys; sys.exit(3)", strict=True) as (program, told):
        look_until(program, lambda: program.is_given_up)
        assert sum("started, process" in line for line in told) == 1
    with kept_program(tmp_path, LASTS, strict=True) as (program, told):
        look_until(program, lambda: program.is_running)
        os.kill(program.pids[1], signal.SIGKILL)
        look_until(program, lambda: sum("started, process" in line for line in told) == 2)
        assert not program.is_given_up


def test_a_port_that_was_taken_is_no_fault_of_its_own(tmp_path: Path) -> None:
    """A program that found its port taken is started again at once, strict or not."""
    code = "import sys; sys.exit('[Errno 98] address already in use')"
    with kept_program(tmp_path, code, strict=True) as (program, told):
        look_until(program, lambda: program.is_given_up)
        assert told.count("it: ended with exit code 1; started again in 0 s") == kept_module.TRIES - 1


def test_a_program_that_is_not_there_is_given_up_at_once(tmp_path: Path) -> None:
    """What cannot be started at all is said once."""
    told: list[str] = []
    program = Kept("it", lambda: child_of(["/no/such/program"], {}, tmp_path, None, "it"), say=told.append)
    program.look()
    assert program.is_given_up
    assert told == ["it: /no/such/program: the program cannot be used: No such file or directory", "it: given up"]


def test_nothing_is_left_of_what_was_ended(tmp_path: Path) -> None:
    """The end takes along whatever the program has started, and a second one does nothing."""
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LASTS!r}]); {LASTS}"
    with kept_program(tmp_path, code) as (program, _):
        look_until(program, lambda: program.is_running)
        child = psutil.Process(program.pids[1])
        assert wait_until(lambda: bool(child.children()), SECONDS, 0.01)
        family = [child, *child.children()]
        program.end()
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
        program.end()


def test_the_last_pause_is_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause is longer than half a minute, however often it ends."""
    monkeypatch.setattr(kept_module, "LONGEST_PAUSE_SECONDS", 0.02)
    with kept_program(tmp_path, "") as (program, told):
        look_until(program, lambda: program.is_given_up)
        assert [line.split()[-2] for line in told if "again" in line] == ["0.01", "0.02", "0.02", "0.02"]
