"""The main log: the seed's format, one line a message."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.events import MainLog
from pytest_evalrun.suite.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path


def test_line_has_time_level_and_text(tmp_path: Path) -> None:
    """Every message is one line ``[time] [LEVEL] text``, whatever it contains."""
    log = MainLog(tmp_path / "task_run.log")
    assert log.write("INFO", "✓ 完成: taskA/dataset1")
    assert log.write("ERROR", "one\r\ntwo\nthree\n")
    assert log.write("TASK", "\udcff")
    log.close()
    lines = (tmp_path / "task_run.log").read_text(encoding="utf-8").split("\n")
    stamp = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]"
    assert re.fullmatch(stamp + r" \[INFO\] ✓ 完成: taskA/dataset1", lines[0])
    assert re.fullmatch(stamp + r" \[ERROR\] one \| two \| three", lines[1])
    assert lines[2].endswith(r"[TASK] \udcff")
    assert lines[3:] == [""]


def test_a_line_is_safe_and_holds_no_secret(tmp_path: Path) -> None:
    """Whoever looks at it with cat: no control, nothing that turns the direction, no token."""
    log = MainLog(tmp_path / "task_run.log", Secrets(("hunter22222222",)))
    log.write("ERROR", "\x1b[31mred \u202egnp: hunter22222222")
    log.close()
    assert (tmp_path / "task_run.log").read_text().endswith("] [ERROR] \\x1b[31mred \\u202egnp: ***\n")
