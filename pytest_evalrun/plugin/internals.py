"""The one file that touches what pytest keeps to itself; what is xdist's is in ``xdist/internals.py``.

Each function says why pytest's own words do not do, and since or until which version. Where nothing else is said, all
of 9.0 to 9.2 have it so, and none of them has a public way.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from argparse import Action
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType


# ------------------------------------------------------------------ imports


def do_not_rewrite(config: pytest.Config, package: str) -> None:
    """Import a package as it is: pytest marks all modules of a plugin's distribution for rewritten asserts.

    ``register_assert_rewrite`` has no opposite.
    """
    marked: set[str] = getattr(config.pluginmanager.rewrite_hook, "_must_rewrite", set())
    marked.discard(package)


class MadeModule(pytest.Module):
    """A module of tests that is made, not imported: where pytest gets it from, no hook can say."""

    def make(self) -> ModuleType:
        raise NotImplementedError

    def _getobj(self) -> ModuleType:
        return self.make()


# ------------------------------------------------------------------ options


def command_line_options(config: pytest.Config) -> Iterator[Action]:
    """All options of the command line, whoever has added them, as argparse has them: none can be listed otherwise."""
    parser: Any = config._parser
    yield from (action for action in parser.optparser._actions if action.option_strings)


def builtin_options() -> frozenset[str]:
    """The names of pytest's own options: of one that is there nobody can say who has added it."""
    from _pytest.config import get_config

    return frozenset(action.dest for action in command_line_options(get_config()))


# ------------------------------------------------------------------ fixtures


def used_fixtures(item: Any, name: str) -> Sequence[Any]:
    """The definitions that an item, or the function that items are made of, uses under a name, the nearest last.

    ``item.fixturenames`` says neither whose they are, nor that they are none but parameters.
    """
    info = getattr(item, "_fixtureinfo", None)
    return (info.name2fixturedefs.get(name) or ()) if info is not None and name in info.names_closure else ()


def all_fixtures(item: Any) -> Iterator[Any]:
    """The definitions of everything that an item uses, also of what comes by itself."""
    info = getattr(item, "_fixtureinfo", None)
    return chain.from_iterable(info.name2fixturedefs.values() if info is not None else ())


def add_fixture(function: Any, name: str) -> None:
    """Let a function ask for this fixture, too, from now on: ``usefixtures`` comes too late to parametrize."""
    info = function._fixtureinfo
    if name not in info.names_closure:
        object.__setattr__(info, "initialnames", (*info.initialnames, name))
        info.names_closure.append(name)
        info.name2fixturedefs[name] = visible_fixtures(function, name)


def visible_fixtures(node: pytest.Item | pytest.Collector, name: str) -> Sequence[Any]:
    """The fixtures of this name that are visible at a node, the nearest last."""
    return node.session._fixturemanager.getfixturedefs(name, node) or ()


def register_fixtures(node: pytest.Collector, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Offer fixtures by their names to all tests at or below a node: public from 9.1 on.

    In 9.0 the last one that was registered wins and not the nearest, and the conftest.py of a directory on the command
    line has long been read.
    """
    public = getattr(pytest, "register_fixture", None)
    manager: Any = node.session._fixturemanager
    for name, function in functions.items():
        if public is not None:
            public(name=name, func=function, node=node)
            continue
        manager._register_fixture(name=name, func=function, nodeid=node.nodeid)
        if isinstance(node, pytest.Directory):
            known = manager._arg2fixturedefs[name]
            known.insert(0, known.pop())


# ------------------------------------------------------------------ parameters


@contextmanager
def parametrize_kept(metafunc: pytest.Metafunc) -> Iterator[list[tuple[Any, Any]]]:
    """Calls of ``metafunc.parametrize`` are only noted: no hook tells what others give values to before they do."""
    kept: list[tuple[Any, Any]] = []
    vars(metafunc)["parametrize"] = lambda *args, **kwargs: kept.append((args, kwargs))
    try:
        yield kept
    finally:
        del vars(metafunc)["parametrize"]


def parameter_ids(item: Any) -> list[str]:
    """List what each call of ``parametrize`` gave to an item's id, in their order; ``callspec.id`` has them joined."""
    return list(item.callspec._idlist)


# ------------------------------------------------------------------ running


def tear_down(session: pytest.Session, nextitem: pytest.Item | None) -> None:
    """Tear down what the next item has no use for: pytest itself does so only as part of running an item."""
    session._setupstate.teardown_exact(nextitem)


def is_of_pytest(value: object) -> bool:
    """Say whether pytest made this object to show an exception; few of their classes have public names."""
    return type(value).__module__.startswith("_pytest.")


# ------------------------------------------------------------------ the terminal


def terminal_file(reporter: Any) -> Any:
    """The file that all of pytest's output goes to; None where there is none. ``reporter`` may be None."""
    return getattr(getattr(reporter, "_tw", None), "_file", None)


def replace_in_writer(reporter: Any, name: str, make: Callable[[Callable[..., None]], Any]) -> Callable[[], None]:
    """Put what ``make`` makes of a method of pytest's writer in its place; what is returned puts the method back.

    No hook tells of all that is written: lines of xdist, of live logs and of ``--setup-show`` come between reports.
    ``--pastebin`` of pytest itself listens in the same way.
    """
    kept = vars(reporter._tw)
    before = kept.get(name)
    kept[name] = make(getattr(reporter._tw, name))

    def put_back() -> None:
        if before is None:
            del kept[name]
        else:
            kept[name] = before

    return put_back


def current_line(reporter: Any) -> str:
    """Give the text of the line that pytest has begun."""
    text: str = reporter._tw._current_line
    return text.rpartition("\r")[2]


def begin_line_again(reporter: Any) -> None:
    """Another has ended the line that pytest had begun, where pytest itself cannot: its output may be captured now."""
    reporter._tw._current_line = ""
    reporter.currentfspath = None


def end_line(reporter: Any) -> None:
    """End the line in which letters of ordinary tests or a file name stand; pytest's own count of it is not kept.

    ``ensure_newline`` looks at that count.
    """
    if reporter._tw.width_of_current_line:
        reporter.write_line("")
    reporter.currentfspath = None


def terminal_width(reporter: Any) -> int:
    """Give the terminal's width in columns, as pytest has found it out."""
    width: int = reporter._tw.fullwidth
    return width


# ------------------------------------------------------------------ --stepwise


def stepwise_place(config: pytest.Config) -> str | None:
    """The node id at which ``--stepwise`` will go on, as it stands now; None without that option, or without a place.

    It is kept in the plugin until the session ends.
    """
    plugin: Any = config.pluginmanager.get_plugin("stepwiseplugin")
    place = plugin.cached_info.last_failed if plugin is not None else None
    return None if place is None else str(place)


def move_stepwise_place(config: pytest.Config, item: pytest.Item) -> None:
    """``--stepwise`` goes on at this item. Since 9.2 it knows items by an id that is no text."""
    plugin: Any = config.pluginmanager.get_plugin("stepwiseplugin")
    plugin.cached_info.last_failed = getattr(item, "id", item.nodeid)
