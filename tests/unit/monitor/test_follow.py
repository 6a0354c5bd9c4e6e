"""A directory whose files come and go."""

from __future__ import annotations

from pytest_evalrun.monitor.follow import Directory, signature


def test_a_directory_is_listed_when_something_came_or_went(tmp_path):
    """Names with the suffix, sorted; hidden ones are on their way to become a file."""
    directory = Directory(tmp_path / "events", ".jsonl")
    assert not directory.look()
    assert signature(tmp_path / "none") is None
    (tmp_path / "events").mkdir()
    for name in ("gw1.jsonl", "gw0.jsonl", ".gw2.jsonl", "notes.txt"):
        (tmp_path / "events" / name).touch()
    assert directory.look()
    assert directory.names == ["gw0.jsonl", "gw1.jsonl"]
    assert not directory.look()
