"""Logs in pieces: what comes next, whatever happened to the file meanwhile."""

from __future__ import annotations

import os

import pytest

from pytest_evalrun.monitor.web import logtext
from pytest_evalrun.monitor.web.logtext import LogTexts
from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.logfiles import shorten
from pytest_evalrun.suite.pairs import PairKey

ANCHOR = anchor_of(PairKey("echo", "a", "one"))


@pytest.fixture
def log(tmp_path):
    return tmp_path / "a.log"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(logtext, "LARGEST", 16)


def test_log_is_followed(log):
    """Each piece begins where the one before ended; where nothing came there is no text."""
    texts = LogTexts()
    assert texts.piece([log], None) == {"text": "", "from": 0, "next": 0, "more": False}
    log.write_bytes(b"one\n")
    first = texts.piece([log], 0)
    assert first == {"text": "one\n", "from": 0, "next": 4, "more": False}
    assert texts.piece([log], 4)["text"] == ""
    with log.open("ab") as file:
        file.write(b"two\n")
    assert texts.piece([log], 4) == {"text": "two\n", "from": 4, "next": 8, "more": False}


def test_long_log_comes_in_pieces(log, small):
    """From a place on one after the other, with a word that there is more; without a place its end, in whole lines."""
    lines = [f"line {number}\n" for number in range(10)]
    log.write_text("".join(lines))
    texts, place, found = LogTexts(), 0, ""
    while True:
        piece = texts.piece([log], place)
        assert len(piece["text"]) <= 16
        found, place = found + piece["text"], piece["next"]
        if not piece["more"]:
            break
    assert found == "".join(lines)
    assert texts.piece([log], None)["text"] == "line 8\nline 9\n"


@pytest.mark.parametrize("text", ["a…", "ä", "\U0001f600 ok", "x" * 30 + "…"])
def test_characters_are_not_cut(log, text):
    """Of one whose end is not written yet nothing is told; all of it comes in the end."""
    texts, place, found = LogTexts(), 0, ""
    for byte in text.encode():
        with log.open("ab") as file:
            file.write(bytes([byte]))
        piece = texts.piece([log], place)
        found, place = found + piece["text"], piece["next"]
    assert found == text


def test_bytes_that_are_no_text_hold_nobody_up(log):
    """What can be the beginning of nothing is shown as that."""
    log.write_bytes(b"\xff\xfe\x80\x80\x80\x80 end")
    assert LogTexts().piece([log], 0)["text"] == "\ufffd" * 6 + " end"


def test_log_that_lost_its_middle_goes_on(log):
    """A place counts what was ever written, so that whoever follows misses nothing that is still there."""
    texts = LogTexts()
    log.write_text("".join(f"{number:07}\n" for number in range(1000)))
    place = texts.piece([log], 0)["next"]
    assert place == 8000
    with log.open("r+b") as file:
        gap = shorten(file.fileno(), 4000, None)
    assert texts.piece([log], place)["text"] == ""
    with log.open("ab") as file:
        file.write(b"after\n")
    assert texts.piece([log], place) == {"text": "after\n", "from": 8000, "next": 8006, "more": False}
    assert f"{gap.left_out} bytes are left out here" in texts.piece([log], 0)["text"]


def test_new_log_begins_anew(log):
    """A log that was replaced by a shorter one is told from its beginning."""
    texts = LogTexts()
    log.write_text("a long first log\n")
    place = texts.piece([log], 0)["next"]
    log.unlink()
    log.write_text("short\n")
    assert texts.piece([log], place)["text"] == "short\n"


def test_newest_of_several_is_told(tmp_path):
    """Of the places in which a log may lie, the one that was written last."""
    old, new = tmp_path / "old", tmp_path / "new"
    new.write_text("new")
    old.write_text("old")
    os.utime(old, (1, 1))
    assert LogTexts().piece([old, tmp_path / "none", new], 0)["text"] == "new"


def test_logs_by_the_page(shown, run):
    """The stages of a pair, safe to show, with what runs as its shards, or at a job."""
    files = run.files("echo/a/one")
    for path, text in ((files.infer_log, "in\x1b[1mfer\n"), (files.eval_log, "eval\n")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert shown.json(f"/api/log?anchor={ANCHOR}&stage=infer")[1]["text"] == "in\\x1b[1mfer\n"
    told = shown.json(f"/api/log?anchor={ANCHOR}&stage=eval&from=2")[1]
    assert told == {"text": "al\n", "from": 2, "next": 5, "more": False}
    os.utime(files.infer_log, (1, 1))
    shard = run.files("echo/a/one/0-10").infer_log
    shard.parent.mkdir(parents=True)
    shard.write_text("shard\n")
    run.item("echo/a/one/0-10")
    assert shown.json(f"/api/log?anchor={ANCHOR}&stage=infer")[1]["text"] == "shard\n"


def test_log_of_a_job_is_told(shown, run):
    """What runs elsewhere has its log in the directory of the attempt."""
    run.item("echo/a/one", "u3.2")
    attempt = EnginePaths(run.paths).attempt("u3", 2).run.pair(PairKey("echo", "a", "one"))
    attempt.infer_log.parent.mkdir(parents=True)
    attempt.infer_log.write_text("far away\n")
    assert shown.json(f"/api/log?anchor={ANCHOR}&stage=infer")[1]["text"] == "far away\n"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"anchor={ANCHOR}&stage=other", 404),
        (f"anchor={ANCHOR}&from=-1", 400),
        (f"anchor={ANCHOR}&from=1e9", 400),
        (f"anchor={ANCHOR}&from={'9' * 40}", 400),
        ("anchor=../../etc/passwd", 404),
        ("", 404),
    ],
)
def test_what_is_no_log(shown, query, status):
    """What is asked wrongly is refused in a line."""
    assert shown.json(f"/api/log?{query}")[0] == status
