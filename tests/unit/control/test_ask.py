"""The question before something goes."""

from __future__ import annotations

import io

import pytest

from pytest_evalrun.control.ask import SHOWN, agreed


@pytest.mark.parametrize(("answer", "expected"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False)])
def test_only_yes_is_yes(monkeypatch, capsys, answer, expected):
    """Anything else changes nothing, and says so."""
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert agreed(["a"], "remove it", yes=False, dry_run=False) is expected
    assert ("nothing was changed" in capsys.readouterr().out) is not expected


def test_nobody_at_the_keyboard_is_no_consent(monkeypatch, capsys):
    """A script must say --yes."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert not agreed(["a"], "remove it", yes=False, dry_run=False)
    assert "--yes" in capsys.readouterr().out


def test_a_dry_run_lists_all_and_does_nothing(capsys):
    """Otherwise a long list is cut, and says how to see all of it."""
    lines = [f"line {i}" for i in range(SHOWN + 5)]
    assert not agreed(lines, "remove it", yes=True, dry_run=True)
    assert capsys.readouterr().out.splitlines() == lines
    assert agreed(lines, "remove it", yes=True, dry_run=False)
    assert capsys.readouterr().out.splitlines()[-1] == "… and 5 more; --dry-run lists all"


def test_nothing_to_do_asks_nothing(capsys):
    """And is no error."""
    assert not agreed([], "remove it", yes=False, dry_run=False)
    assert capsys.readouterr().out == "nothing to do\n"


def test_names_do_not_drive_the_terminal(capsys):
    """Control characters are shown escaped."""
    agreed(["a\x1b[2J"], "remove it", yes=True, dry_run=False)
    assert "\x1b" not in capsys.readouterr().out
