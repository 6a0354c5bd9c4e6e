"""Engines by name: ours, and what other packages offer by entry points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.registry import ENGINES, find, names

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.engines.protocol import Engine, EngineMaker
    from pytest_evalrun.suite.clusters import ClusterWords

LOCAL = "local"


def engine_names() -> tuple[str, ...]:
    """All that ``--eval-engine`` accepts, this machine first."""
    return LOCAL, *sorted(names(ENGINES) - {LOCAL})


def create_engine(words: ClusterWords, directory: Path) -> Engine:
    """Make the engine that ``words`` names, for a run whose directory for jobs is ``directory``.

    Raises ConfigError for a name that nobody offers, and where a tool or a word is missing that the engine needs.
    """
    offer = find(ENGINES, words.engine)
    if offer is None:
        raise ConfigError(
            f"--eval-engine (ini eval_engine): found {words.engine!r}; accepted: {', '.join(engine_names())}, "
            f"or a name that an installed package offers as an entry point of {ENGINES}"
        )
    make: EngineMaker = offer.load()
    return make(words, directory)
