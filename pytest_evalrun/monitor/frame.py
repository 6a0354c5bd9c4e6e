"""A snapshot as lines: for a window of any size, or for a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.monitor import sections
from pytest_evalrun.monitor.renderer import EMPTY, Line, Renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.monitor.snapshot import Snapshot
    from pytest_evalrun.monitor.tree import TreeView

WIDE = 140
# On a page: as many at most.
PAGE_ROWS = 40
PAGE_FAILED = 20
PAGE_JOBS = 20
PAGE_SLOWEST = 5
PAGE_LOG = 10


@dataclass(frozen=True)
class View:
    """The part of a run that a person looks at.

    ``top``: the first row of the tree that is seen, None to follow what runs; ``unfolded``: None where the window's
    size decides; ``typing``: whether the filter is being typed.
    """

    top: int | None = None
    unfolded: bool | None = None
    needle: str = ""
    typing: bool = False


@dataclass(frozen=True)
class Block:
    """A section: its lines for a given count of them (title included), how many it has, and its weight."""

    lines: Callable[[int], list[Line]]
    count: int
    weight: int


def frame(snapshot: Snapshot, tree: TreeView, view: View, renderer: Renderer, size: tuple[int, int]) -> list[Line]:
    """Exactly ``size`` (columns, rows): every line fills its columns."""
    width, height = size
    top = sections.head(snapshot, renderer, width)[:height]
    foot = [_foot(view, renderer)] if height >= len(top) + 3 else []
    if view.typing and not foot:  # what is typed must be seen
        top, foot = top[: height - 1], [_foot(view, renderer)]
    room = height - len(top) - len(foot)
    body = _columns if width >= WIDE else _column
    lines = body(snapshot, tree, view, renderer, (width, room))[:room]
    lines += [EMPTY] * (room - len(lines))
    return [renderer.fit(line, width) for line in (*top, *lines, *foot)]


def page(snapshot: Snapshot, tree: TreeView, renderer: Renderer, width: int) -> list[Line]:
    """Everything of interest, as long as it takes; lists that go on say so."""
    tree.lay_out("", _unfolds(snapshot, PAGE_ROWS))
    rows = tree.lines(renderer, 0, PAGE_ROWS)
    parts = [
        sections.running(snapshot, renderer, width, ""),
        _short(sections.jobs(snapshot, renderer, width, ""), PAGE_JOBS, snapshot.jobs.living if snapshot.jobs else ()),
        _short(sections.failed(snapshot, renderer, width, ""), PAGE_FAILED, snapshot.failed),
        sections.slowest(snapshot, renderer, width, "")[: PAGE_SLOWEST + 1],
        [sections.title("Tasks", renderer, width), *_short(rows, PAGE_ROWS, tree.entries)] if rows else [],
        _ends(sections.log(snapshot, renderer, width, ""), PAGE_LOG + 1),
    ]
    return [*sections.head(snapshot, renderer, width), *(line for part in parts for line in part)]


def _ends(lines: list[Line], count: int) -> list[Line]:
    """The title, and of the rest the end."""
    return [*lines[:1], *lines[max(1, len(lines) - count + 1) :]]


def ending(snapshot: Snapshot, renderer: Renderer, width: int) -> list[Line]:
    """Write what there is to say of a run that ended, above its tables."""
    failed = _short(sections.failed(snapshot, renderer, width, ""), PAGE_FAILED, snapshot.failed)
    return [*sections.head(snapshot, renderer, width), *failed, EMPTY]


def _short(lines: list[Line], most: int, of: Sequence[object]) -> list[Line]:
    left = len(of) - most
    return [*lines[: most + 1], ((f"  and {left} more", "dim"),)] if left > 0 else lines


def _foot(view: View, renderer: Renderer) -> Line:
    if view.typing:
        return (("/", "head"), (renderer.clean(view.needle), ""), ("_", "head"))
    found = f"filter: {renderer.clean(view.needle)}" if view.needle else "filter"
    return ((f"q quit  {renderer.glyphs.keys}  / {found}", "dim"),)


def _column(snapshot: Snapshot, tree: TreeView, view: View, renderer: Renderer, size: tuple[int, int]) -> list[Line]:
    """Draw all sections below each other, the tree among them."""
    width, height = size
    parts = _parts(snapshot, view, renderer, width)
    parts.insert(3, _tree_part(snapshot, tree, view, renderer, size))
    return _stack(parts, height)


def _columns(snapshot: Snapshot, tree: TreeView, view: View, renderer: Renderer, size: tuple[int, int]) -> list[Line]:
    """The tree on the left, the rest on the right."""
    width, height = size
    left = (width - 3) // 3
    right = width - 3 - left
    trees = _tree_part(snapshot, tree, view, renderer, (left, height)).lines(height)
    return sections.join(trees, _stack(_parts(snapshot, view, renderer, right), height), (left, right), renderer)


def _parts(snapshot: Snapshot, view: View, renderer: Renderer, width: int) -> list[Block]:
    """List the sections, what matters most first: where there is no room, the last ones go."""
    running = sections.running(snapshot, renderer, width, view.needle)
    jobs = sections.jobs(snapshot, renderer, width, view.needle)
    failed = sections.failed(snapshot, renderer, width, view.needle)
    slowest = sections.slowest(snapshot, renderer, width, view.needle)
    log = sections.log(snapshot, renderer, width, view.needle)
    return [
        Block(lambda count: running[:count], len(running), 5),
        Block(lambda count: jobs[:count], len(jobs), 4),
        Block(lambda count: failed[:count], len(failed), 3),
        Block(lambda count: _ends(log, count), len(log), 3),
        Block(lambda count: slowest[:count], min(len(slowest), PAGE_SLOWEST + 1), 2),
    ]


def _tree_part(snapshot: Snapshot, tree: TreeView, view: View, renderer: Renderer, size: tuple[int, int]) -> Block:
    width, height = size
    unfolded = _unfolds(snapshot, height // 3) if view.unfolded is None else view.unfolded
    tree.lay_out(view.needle, unfolded or bool(view.needle))

    def lines(count: int) -> list[Line]:
        top = tree_top(snapshot, tree, view, count - 1)
        return [sections.title("Tasks", renderer, width), *tree.lines(renderer, top, count - 1)]

    return Block(lines, len(tree.entries) + 1 if tree.entries else 0, 4)


def _unfolds(snapshot: Snapshot, room: int) -> bool:
    return len(snapshot.tasks) + snapshot.tasks.left_out + len(snapshot.tasks.groups) <= room


def tree_top(snapshot: Snapshot, tree: TreeView, view: View, count: int) -> int:
    """The first row that is seen: the one asked for, or where something runs, the list's end at the latest."""
    wanted = view.top
    if wanted is None:
        wanted = min((tree.position(each.pair) for each in snapshot.running), default=0)
    return max(0, min(wanted, len(tree.entries) - count))


def _stack(parts: list[Block], height: int) -> list[Line]:
    """Share the lines among the parts by their weights; none gets a title alone."""
    parts = [part for part in parts if part.count][: max(0, height // 2)]
    given = [0] * len(parts)
    for _ in range(height):
        waiting = [i for i, part in enumerate(parts) if given[i] < part.count]
        if not waiting:
            break
        # Two lines first, then whoever has least for its weight.
        given[min(waiting, key=lambda i: (given[i] >= 2, given[i] / parts[i].weight, i))] += 1
    return [line for part, count in zip(parts, given, strict=True) for line in part.lines(count)]
