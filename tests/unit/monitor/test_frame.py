"""A snapshot as lines, for any window."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.monitor.frame import View, frame, page, tree_top
from pytest_evalrun.monitor.reader import SnapshotReader
from pytest_evalrun.monitor.renderer import ASCII, UNICODE, Renderer, plain
from pytest_evalrun.monitor.tree import TreeView
from pytest_evalrun.report.text import display_width

PEN = Renderer(UNICODE, "utf-8")


@pytest.fixture
def busy(run, reader):
    """One pair runs, one failed, one passed, three wait."""
    run.start()
    run.ended("echo/a/two", "failed", seconds=75.25, note="1 gate breached")
    run.ended("echo/dir/b/three", seconds=2.0)
    run.worker("gw0").write("slot_taken", "echo/a/one", gpus=[0, 1])
    run.item("echo/a/one")
    run.state("echo/a/one")
    return reader.look()


def drawn(snapshot, size, view=None, renderer=PEN):
    return [plain(line) for line in frame(snapshot, TreeView(snapshot.tasks), view or View(), renderer, size)]


SIZES = st.tuples(st.integers(1, 300), st.integers(1, 90))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(size=SIZES, needle=st.sampled_from(["", "b", "zzz"]), typing=st.booleans(), top=st.sampled_from([None, 0, 99]))
def test_a_frame_fills_its_window_exactly(busy, size, needle, typing, top):
    """Tiny or very wide: as many lines as there are rows, each as wide as the window."""
    lines = frame(busy, TreeView(busy.tasks), View(top=top, needle=needle, typing=typing), PEN, size)
    assert [display_width("".join(text for text, _ in line)) for line in lines] == [size[0]] * size[1]


def test_an_ordinary_window_has_all_there_is_to_know(busy):
    """How far, how many, what runs where and how fast, what failed and why, what was slow, the tasks, the log."""
    text = "\n".join(drawn(busy, (120, 40)))
    assert "37 %  2/6" in text
    assert "✓ 1 completed   ✗ 1 failed   ◐ 1 running   ○ 3 pending" in text
    assert "◐ echo/a/one  [batch 3/10] [in batch 5/20] [failed 1] [retried 2]" in text
    assert "gw0  GPU 0,1" in text
    assert "✗ echo/a/two  1 gate breached" in text
    assert "75.25 s  echo/a/two" in text
    assert "◐ echo/dir/b  1/3" in text
    assert "✗ failed: echo/a/two" in text
    assert text.endswith("q quit  ↑↓ scroll  ←→ fold  / filter")


def test_who_was_skipped_in_its_turn_takes_no_second_row(run, reader):
    """A tree that fits stays unfolded."""
    run.start()
    for task in ("echo/a", "echo/dir/b"):
        for dataset in ("one", "two", "three"):
            run.ended(f"{task}/{dataset}", "skipped")
    lines = drawn(reader.look(), (120, 32))
    assert sum(line.startswith("    ⊘ ") for line in lines) == 6


def test_a_wide_window_has_two_columns(busy):
    """The tree on the left with its datasets, the rest beside it."""
    lines = drawn(busy, (250, 70))
    assert any("Tasks" in line and "│ Running (1)" in line for line in lines)
    assert any(line.startswith("    ◐ one") for line in lines)


def test_a_tiny_window_has_what_matters_most(busy):
    """How far it is, and what runs."""
    lines = drawn(busy, (20, 5))
    assert "37 %  2/6" in lines[1]
    assert lines[2] == "✓1 ✗1 ◐1 ○3"
    assert lines[3].startswith("Running (1)")
    assert "3/10" in lines[4]


def test_without_utf8_everything_is_ascii(busy):
    """Signs, bars, edges and keys."""
    for size in ((120, 40), (250, 70), (20, 5)):
        assert "\n".join(drawn(busy, size, renderer=Renderer(ASCII, "ascii"))).isascii()


def test_a_filter_is_seen_while_it_is_typed_and_holds_for_all(busy):
    """Running, failed, slowest and the tree."""
    lines = drawn(busy, (120, 40), View(needle="dir", typing=True))
    assert lines[-1] == "/dir_"
    text = "\n".join(lines)
    assert "echo/dir/b" in text
    assert "echo/a  " not in text
    assert "Running" not in text
    assert drawn(busy, (120, 40), View(needle="dir"))[-1].endswith("filter: dir")


def test_the_tree_follows_what_runs_until_it_is_scrolled(make_run):
    """And never goes beyond its end."""
    run = make_run({f"echo/m{i:02d}": ["one"] for i in range(60)}).start()
    run.item("echo/m40/one")
    snapshot = SnapshotReader(run.paths).look()
    tree = TreeView(snapshot.tasks)
    assert any("echo/m40  0/1" in line for line in drawn(snapshot, (80, 24)))
    tree.lay_out("", False)
    assert tree_top(snapshot, tree, View(), 10) == 40
    assert tree_top(snapshot, tree, View(top=3), 10) == 3
    assert tree_top(snapshot, tree, View(top=99), 10) == 50
    run.end()


def test_a_dead_run_says_so_first(run, reader):
    """In a window of a few columns too: that it is dead, the likely reason, the whole command to carry on."""
    run.start(["/bin/pytest", "evals", "-n", "2", "--eval-workdir", "/a/very/long/place/for/a/run"])
    run.item("echo/a/one")
    run.log.write("ERROR", "RuntimeError: CUDA out of memory")
    run.die()
    snapshot = reader.look()
    lines = drawn(snapshot, (80, 24))
    assert lines[0].startswith("DEAD: process ")
    assert "likely reason: it ran out of memory" in lines
    assert "Interrupted (1)" in "\n".join(lines)
    narrow = drawn(snapshot, (40, 12))
    assert narrow[0].startswith("DEAD")
    text = " ".join(line.strip() for line in narrow)
    assert "carry on with: pytest evals -n 2 --eval-workdir /a/very/long/place/for/a/run" in text


def test_a_page_says_where_it_stops(make_run):
    """Lists of thousands are not for reading."""
    run = make_run({f"echo/m{i}": ["one", "two"] for i in range(100)})
    for i in range(30):
        run.ended(f"echo/m{i}/one", "failed")
    snapshot = SnapshotReader(run.paths).look()
    lines = [plain(line) for line in page(snapshot, TreeView(snapshot.tasks), PEN, 100)]
    assert "Failed (30)" in "\n".join(lines)
    assert "  and 10 more" in lines
    assert "  and 60 more" in lines
    assert len(lines) < 100


def test_nothing_to_show_is_shown_as_nothing(make_run):
    """A run without a task list, or with an empty one."""
    run = make_run({})
    run.paths.task_list.unlink()
    snapshot = SnapshotReader(run.paths).look()
    lines = drawn(snapshot, (80, 10))
    assert lines[0] == "run  no session has begun"
    assert lines[1].endswith("0 %  0/0")
