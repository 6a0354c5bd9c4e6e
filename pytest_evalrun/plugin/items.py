"""An item of pytest is about a pair or not, and uses some of our fixtures or none.

A project may have fixtures, parameters and markers of the same names: none of them counts here.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.internals import used_fixtures, visible_fixtures
from pytest_evalrun.suite.pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.suite.discovery import Suite

# The fixtures that are parametrized with pairs, the one that is preferred first.
ABOUT_PAIRS = ("pair", "evaluation", "device")
OFFERED = (*ABOUT_PAIRS, "gpus")
# Where their functions are defined.
HOME = "pytest_evalrun.plugin.fixtures"
_pair = pytest.StashKey["Pair | None"]()


def pair_of(item: pytest.Item) -> Pair | None:
    """The pair that an item is about, if it is about one; looked for once, though every hook asks."""
    if _pair not in item.stash:
        item.stash[_pair] = _found_in(item)
    return item.stash[_pair]


def _found_in(item: pytest.Item) -> Pair | None:
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    for name in ABOUT_PAIRS:
        value = callspec.params.get(name)
        if isinstance(value, Pair) and uses(item, name):
            return value
    return None


def uses(item: Any, name: str) -> bool:
    """Say whether what an item, or the function that items are made of, asks for under this name is our fixture."""
    return _is_ours(name, used_fixtures(item, name))


def is_offered(node: pytest.Item, name: str) -> bool:
    """Say whether a test would get our fixture if it asked for this name."""
    return _is_ours(name, visible_fixtures(node, name))


def _is_ours(name: str, definitions: Sequence[Any]) -> bool:
    """The nearest is used; it may ask for the one that it hides, and then that is used too."""
    for definition in reversed(definitions):
        if getattr(definition.func, "__module__", None) == HOME:
            return True
        if name not in definition.argnames:
            return False
    return False


def describe(item: Any, pair: Pair) -> None:
    """Give the test of a suite a docstring that speaks of its own pair: this is what reports show of it."""
    function = item.obj
    own = FunctionType(function.__code__, function.__globals__, function.__name__)
    samples = f", samples {pair.label}" if pair.is_shard else ""
    own.__doc__ = f"Model {pair.task.name} on dataset {pair.dataset.name}{samples}, of the suite {pair.suite}."
    own.__module__ = function.__module__
    item.obj = own


def params(suite: Suite, *, shards: bool) -> Iterator[Any]:
    """The pairs of a suite as pytest parameters, each after its shards where these are wanted; tags are markers."""
    for pair in (item for whole in suite.pairs for item in (*(whole.shards() if shards else ()), whole)):
        marks: Sequence[Any] = [getattr(pytest.mark, tag) for tag in pair.tags]
        if pair.skip is not None:
            marks = [*marks, pytest.mark.skip(reason=pair.skip)]
        yield pytest.param(pair, id=pair.id, marks=marks)
