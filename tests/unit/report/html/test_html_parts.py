"""Values become parts of the page: safe, cut, and with no more pictures than there is room for."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import pytest

from pytest_evalrun.report.html.parts import LONGEST, LONGEST_TALK, FilePlaces, Parts
from pytest_evalrun.report.html.pictures import SMALL, Pictures
from pytest_evalrun.report.records import SampleRecord
from pytest_evalrun.suite.secrets import Secrets


def png(width: int = 2, height: int = 2, noise: bytes = b"") -> bytes:
    """A gray picture; ``noise`` makes its file larger."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) + (chunk(b"teXt", noise) if noise else b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def linked(path: Path) -> str:
    return f"../{path.name}"


def test_values_have_the_kind_that_they_are_of():
    """Text, numbers, nothing, and JSON for all else."""
    parts = Parts()
    assert parts.part("a") == {"kind": "text", "text": "a"}
    assert parts.part(0.5) == {"kind": "number", "text": "0.5"}
    assert parts.part(None) == {"kind": "none"}
    assert parts.part(True) == {"kind": "json", "text": "true"}
    assert parts.part({"a": [1]})["kind"] == "json"


def test_long_texts_are_cut_and_say_by_how_much():
    """A line of a megabyte costs the page a few thousand characters."""
    part = Parts().part("x" * 1_000_000)
    assert len(part["text"]) == LONGEST
    assert part["cut"] == 1_000_000 - LONGEST
    assert Parts().part({"a": "x" * 10_000})["cut"] > 0


def test_no_text_drives_whatever_shows_it():
    """Controls, bidi overrides and halves of characters are shown as escapes, in JSON too."""
    for value in ("\x1b[2J\u202e", {"a": "\x1b[2J\u202e"}, ["\ud800"]):
        assert not {"\x1b", "\u202e", "\ud800"} & set(Parts().part(value)["text"])


def test_secrets_are_blanked_before_a_text_is_cut():
    """The beginning of a secret at the end of what is shown would tell it."""
    secret = "sk-0123456789abcdef"
    text = "x" * (LONGEST - 5) + secret
    assert "sk-" not in Parts(secrets=Secrets([secret])).part(text)["text"]


def test_small_pictures_are_part_of_the_page(tmp_path: Path):
    """As they are, with their size."""
    (tmp_path / "a.png").write_bytes(png(3, 2))
    part = Parts(FilePlaces(link=linked)).part(tmp_path / "a.png")
    assert part["kind"] == "image"
    assert base64.b64decode(part["src"].partition(",")[2]) == png(3, 2)
    assert (part["width"], part["height"]) == (3, 2)


def test_large_pictures_are_made_smaller(tmp_path: Path):
    """To a PNG of a few hundred pixels; what Pillow cannot read is a link."""
    (tmp_path / "a.png").write_bytes(png(600, 300, b"n" * SMALL))
    part = Parts(FilePlaces(link=linked)).part(tmp_path / "a.png")
    assert (part["kind"], part["width"], part["height"]) == ("image", 256, 128)
    (tmp_path / "b.png").write_bytes(png()[:40] + b"\0" * SMALL)
    part = Parts(FilePlaces(link=linked)).part(tmp_path / "b.png")
    assert part == {"kind": "file", "name": "b.png", "href": "../b.png"}


def test_where_there_is_no_room_pictures_are_links(tmp_path: Path):
    """And it is counted how many."""
    (tmp_path / "a.png").write_bytes(png())
    pictures = Pictures(left=150)
    parts = Parts(FilePlaces(link=linked), pictures=pictures)
    assert [parts.part(tmp_path / "a.png")["kind"] for _ in range(3)] == ["image", "file", "file"]
    assert pictures.refused == 2


@pytest.mark.parametrize("name", ["a.txt", "a.svg", "a.html", "missing.png"])
def test_what_is_no_picture_is_a_file(tmp_path: Path, name: str):
    """An SVG may hold scripts."""
    for one in ("a.txt", "a.svg", "a.html"):
        (tmp_path / one).write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")
    assert Parts(FilePlaces(link=linked)).part(tmp_path / name) == {"kind": "file", "name": name, "href": f"../{name}"}


def test_a_picture_is_told_by_its_content(tmp_path: Path):
    """A page of HTML is none by being called so."""
    (tmp_path / "a.png").write_text("<script>1</script>")
    assert Parts().part(tmp_path / "a.png") == {"kind": "file", "name": "a.png", "href": None}


def test_data_urls_are_pictures_only_where_they_hold_some():
    """What else they hold is text."""
    good = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    assert Parts().part(good)["src"] == good
    for bad in ("data:image/svg+xml;base64,PHN2Zz4=", "data:image/png;base64,PHN2Zz4=", "data:image/png,<svg>"):
        assert Parts().part(bad) == {"kind": "text", "text": bad}


def test_a_prediction_is_looked_for_below_the_outputs_only(tmp_path: Path):
    """A link that a model left there leads nowhere."""
    written, elsewhere = tmp_path / "out", tmp_path / "secret.png"
    written.mkdir()
    elsewhere.write_bytes(png())
    (written / "own.png").write_bytes(png())
    (written / "link.png").symlink_to(elsewhere)
    parts = Parts(FilePlaces(written=written, link=linked))

    def predicted(name: str) -> str:
        return str(parts.prediction({"file": name, "size": 1, "sha256": "0"})["kind"])

    assert [predicted("own.png"), predicted("link.png")] == ["image", "file"]
    assert parts.prediction({"file": "link.png", "size": 1, "sha256": "0"})["href"] is None


def test_a_text_that_names_a_picture_of_the_dataset_is_shown_as_that(tmp_path: Path):
    """What leads out of the dataset is text."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(png())
    parts = Parts(FilePlaces(data=data, link=linked))
    assert parts.part("a.png")["kind"] == "image"
    assert parts.part("../b.png") == {"kind": "text", "text": "../b.png"}


def test_conversations_are_messages_with_their_roles():
    """Of chat prompts and of agents; parts of a message, and what tools were called, are text."""
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One?"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]},
    ]
    part = Parts().part(talk)
    assert [message["role"] for message in part["messages"]] == ["system", "user", "assistant"]
    assert part["messages"][1]["text"] == "One?"
    assert '"name": "f"' in part["messages"][2]["text"]


def test_conversations_have_an_end():
    """What there is no room for is counted."""
    part = Parts().part([{"role": "user", "content": "x" * 5_000}] * 50)
    assert sum(len(message["text"]) for message in part["messages"]) < LONGEST_TALK + 1_000
    assert part["messages"][-1] == {"role": "…", "text": f"{50 - (len(part['messages']) - 1)} messages more"}


def test_a_record_has_all_of_a_sample():
    """The conversation of an agent stands beside what it was asked."""
    talk = [{"role": "user", "content": "go"}, {"role": "agent", "content": "gone"}]
    sample = SampleRecord(
        index=3,
        id="a\x1b",
        generation=1,
        failed=False,
        inputs={"question": "Q"},
        prediction={"status": "completed", "result": 1},
        reference=None,
        answer={"x": 1},
        scores={"top1": 0.0, "judge": None},
        seconds=0.25,
        detail={"history": talk},
        judged={"judge": "GRADE: ?"},
    )
    record = Parts().record(sample, {"top1": "lost"})
    assert (record["i"], record["g"], record["id"], record["seconds"]) == (3, 1, "a\\x1b", 0.25)
    assert [one["name"] for one in record["inputs"]] == ["question", "conversation"]
    assert record["inputs"][1]["part"]["kind"] == "messages"
    assert record["judge"] == [{"metric": "judge", "score": None, "text": "GRADE: ?"}]
    assert record["flip"] == {"top1": "lost"}
