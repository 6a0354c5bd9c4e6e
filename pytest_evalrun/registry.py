"""What is known by name: kinds of models, readers, metrics and engines, from the entry points of installed packages.

Our own are declared in pyproject.toml as those of every other package are. Names are read without importing what they
stand for; nothing is read before somebody asks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, EvalrunError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

ADAPTERS = "pytest_evalrun.adapters"
READERS = "pytest_evalrun.readers"
METRICS = "pytest_evalrun.metrics"
ENGINES = "pytest_evalrun.engines"
OURS = "pytest-evalrun"

_ONE = {ADAPTERS: "adapter", READERS: "format", METRICS: "metric", ENGINES: "engine"}


@dataclass(frozen=True)
class Offer:
    """One entry point: the package that has it, and ``package.module:Name`` of what it stands for."""

    group: str
    name: str
    value: str
    package: str

    @property
    def is_ours(self) -> bool:
        return self.package == OURS

    def load(self) -> Any:
        """Give the object itself. Raises ConfigError naming package and entry point where that cannot be imported.

        It is kept, for each pair asks for its kind, its reader and its metrics; but not longer than its module: who
        runs pytest inside of a test makes Python forget that, and what is imported anew fits nothing that is kept.
        """
        name = self.value.partition(":")[0].strip()
        module, found = self._kept
        if module is None or sys.modules.get(name) is not module:
            found = self._imported()
            self._kept[:] = sys.modules.get(name), found
        return found

    @cached_property
    def _kept(self) -> list[Any]:
        return [None, None]

    def _imported(self) -> Any:
        from importlib.metadata import EntryPoint

        try:
            return EntryPoint(self.name, self.value, self.group).load()
        except EvalrunError:
            raise
        except Exception as error:
            raise ConfigError(f"{self} cannot be loaded: {type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        return f"{_ONE[self.group]} {self.name} of the package {self.package} (entry point {self.name} = {self.value})"


def names(group: str) -> frozenset[str]:
    """All names of a group, whoever offers them."""
    return frozenset(_offers(group))


def find(group: str, name: str) -> Offer | None:
    """Who offers a name; None where nobody does. Raises ConfigError where two packages do."""
    offers = _offers(group).get(name, ())
    if len(offers) > 1:
        packages = " and ".join(offer.package for offer in offers)
        raise ConfigError(
            f"found {name!r}, the name of one {_ONE[group]} in each of the packages {packages}; "
            "accepted: one of these packages installed"
        )
    return offers[0] if offers else None


def _offers(group: str) -> Mapping[str, tuple[Offer, ...]]:
    return _read(tuple(sys.path)).get(group, {})


@lru_cache(maxsize=4)
def _read(_: tuple[str, ...]) -> dict[str, dict[str, tuple[Offer, ...]]]:
    """Everything that is offered below ``sys.path`` as it is now, by group and name, the first on the path first."""
    from importlib.metadata import entry_points

    found: dict[str, dict[str, tuple[Offer, ...]]] = {group: {} for group in _ONE}
    every, packages = entry_points(), dict[int, str]()
    for group, offers in found.items():
        for point in every.select(group=group):
            offer = Offer(group, point.name, point.value, _package(point, packages))
            offers[point.name] = (*offers.get(point.name, ()), offer)
    if not found[ADAPTERS]:
        raise ConfigError(f"{OURS} is of another version than it was installed as; install it again")
    return found


def _package(point: EntryPoint, known: dict[int, str]) -> str:
    """The name of a distribution, whose metadata are parsed anew each time that it is asked."""
    if point.dist is None:
        return "?"
    if id(point.dist) not in known:
        known[id(point.dist)] = point.dist.name
    return known[id(point.dist)]
