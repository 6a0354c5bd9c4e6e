"""Events: one line each, merged by the controller without loss or double."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.rundir.events import EventMerger, EventWriter, read_events
from pytest_evalrun.suite.secrets import Secrets


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def of(path: Path, worker: str) -> list[dict[str, object]]:
    return [event for event in read(path) if event["worker"] == worker]


def test_event_has_the_words_of_the_contract(tmp_path: Path) -> None:
    """An event says when, what, which pair and which worker, in this order, then its own fields."""
    writer = EventWriter(tmp_path / "events" / "gw0.jsonl", "gw0")
    assert writer.write("item_finished", "s/t/d", outcome="passed", seconds=1.5, odd={1})
    assert writer.write("model_unloaded")
    writer.close()
    first, second = read(tmp_path / "events" / "gw0.jsonl")
    assert list(first) == ["time", "event", "pair", "worker", "outcome", "seconds", "odd"]
    assert list(first.values())[1:] == ["item_finished", "s/t/d", "gw0", "passed", 1.5, "{1}"]
    assert second["pair"] is None


@pytest.mark.parametrize("field", ["time", "worker"])
def test_field_may_not_hide_the_writer(tmp_path: Path, field: str) -> None:
    """A field that would replace a word of the contract is a mistake of the caller."""
    with pytest.raises(TypeError, match=field):
        EventWriter(tmp_path / "e.jsonl", "gw0").write("worker_lost", **{field: "gw1"})


def test_events_are_read_without_the_torn_ones(tmp_path: Path) -> None:
    """In the order in which they lie there; a run without events has none."""
    path = tmp_path / "events.jsonl"
    assert list(read_events(path)) == []
    writer = EventWriter(path, "gw0")
    writer.write("one")
    writer.write("two")
    writer.close()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n{torn\n", 1))
    damaged: list[int] = []
    assert [event["event"] for event in read_events(path, damaged)] == ["one", "two"]
    assert damaged == [2]


def test_lines_are_merged_in_order(tmp_path: Path) -> None:
    """The controller's own events and everybody's stand in one file, in the order in which they came in."""
    merger = EventMerger(tmp_path / "events.jsonl", tmp_path / "events")
    one, two = (EventWriter(tmp_path / "events" / f"{w}.jsonl", w) for w in ("gw0", "gw1"))
    merger.write("run_started")
    assert merger.pull("gw0"), "a worker that wrote nothing yet is no fault"
    one.write("a", "p")
    merger.pull("gw0")
    two.write("b", "q")
    one.write("c", 'nasty ,"worker":"gw1" name')
    merger.pull("gw1")
    merger.close()
    events = read(tmp_path / "events.jsonl")
    assert [(e["event"], e["worker"]) for e in events] == [
        ("run_started", "controller"),
        ("a", "gw0"),
        ("b", "gw1"),
        ("c", "gw0"),
    ]


def test_torn_line_waits(tmp_path: Path) -> None:
    """A line is merged once it is complete."""
    file = tmp_path / "events" / "gw0.jsonl"
    file.parent.mkdir()
    merger = EventMerger(tmp_path / "events.jsonl", tmp_path / "events")
    line = b'{"event":"a","pair":null,"worker":"gw0"}\n'
    file.write_bytes(line[:10])
    merger.pull("gw0")
    assert not (tmp_path / "events.jsonl").exists()
    file.write_bytes(line)
    merger.close()
    assert (tmp_path / "events.jsonl").read_bytes() == line


def test_line_longer_than_a_read_is_merged(tmp_path: Path) -> None:
    """A line of any length is copied whole."""
    writer = EventWriter(tmp_path / "events" / "gw0.jsonl", "gw0")
    writer.write("a", text="x" * 3_000_000)
    writer.write("b")
    EventMerger(tmp_path / "events.jsonl", tmp_path / "events").close()
    assert [e["event"] for e in read(tmp_path / "events.jsonl")] == ["a", "b"]


def test_file_that_was_replaced_is_merged_from_its_start(tmp_path: Path) -> None:
    """Where somebody removed the workers' files, the count of the old lines does not swallow the new."""
    for event in ("a", "b"):
        file = tmp_path / "events" / "gw0.jsonl"
        file.unlink(missing_ok=True)
        writer = EventWriter(file, "gw0")
        writer.write(event)
        writer.close()
        EventMerger(tmp_path / "events.jsonl", tmp_path / "events").close()
    assert [e["event"] for e in read(tmp_path / "events.jsonl")] == ["a", "b"]


def test_full_disk_delays_and_loses_nothing(tmp_path: Path) -> None:
    """What the disk did not take is merged by a later call."""
    EventWriter(tmp_path / "events" / "gw0.jsonl", "gw0").write("a")
    (tmp_path / "events.jsonl").mkdir()
    merger = EventMerger(tmp_path / "events.jsonl", tmp_path / "events")
    assert not merger.pull("gw0")
    (tmp_path / "events.jsonl").rmdir()
    assert merger.pull("gw0")
    merger.close()
    assert [e["event"] for e in read(tmp_path / "events.jsonl")] == ["a"]


WORKERS = ["gw0", "gw1"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(WORKERS)),
        st.tuples(st.just("pull"), st.sampled_from(WORKERS)),
        st.tuples(st.just("own"), st.none()),
        st.tuples(st.just("end"), st.none()),
        st.tuples(st.just("kill"), st.integers(0, 300)),
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_no_line_is_lost_or_doubled(steps: list[tuple[str, object]]) -> None:
    """However often a controller dies, and wherever its file is cut then, all lines of the workers stand once."""
    with tempfile.TemporaryDirectory() as name:
        events, directory = Path(name, "events.jsonl"), Path(name, "events")
        writers = {worker: EventWriter(directory / f"{worker}.jsonl", worker) for worker in WORKERS}
        merger = EventMerger(events, directory)
        for number, (step, value) in enumerate(steps):
            if step == "write":
                writers[str(value)].write("e", None, number=number % 3)
            elif step == "pull":
                merger.pull(str(value))
            elif step == "own":
                merger.write("own")
            else:
                merger.close() if step == "end" else kill(merger, events, value)
                merger = EventMerger(events, directory)
        merger.write("run_finished")
        merger.close()
        for worker, writer in writers.items():
            writer.close()
            file = directory / f"{worker}.jsonl"
            assert of(events, worker) == (read(file) if file.exists() else [])


def kill(merger: EventMerger, events: Path, cut: object) -> None:
    """Leave everything as a SIGKILL would, or a power cut that took the last bytes."""
    for source in merger._sources.values():
        os.close(source.fd)
    merger._out.close()
    if events.exists():
        os.truncate(events, max(0, events.stat().st_size - int(str(cut))))


def test_no_event_holds_a_secret(tmp_path: Path) -> None:
    """Whoever writes it, and at whatever depth it stands."""
    secrets = Secrets(("hunter22222222",))
    writer = EventWriter(tmp_path / "events" / "gw0.jsonl", "gw0", secrets)
    writer.write("batch_retried", "s/t/d", error="refused hunter22222222", more=[{"key": "hunter22222222"}])
    writer.close()
    merger = EventMerger(tmp_path / "events.jsonl", tmp_path / "events", secrets)
    merger.write("worker_lost", error="hunter22222222")
    merger.close()
    assert "hunter" not in (tmp_path / "events.jsonl").read_text()
    assert [event.get("error") for event in read(tmp_path / "events.jsonl")] == ["refused ***", "***"]
