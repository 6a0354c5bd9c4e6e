"""A program that is kept running and speaks the child protocol; docs/child-protocol.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.children.adapter import ServerAdapter
from pytest_evalrun.programs.command_template import GPUS, arguments, environment, here, placeholders
from pytest_evalrun.suite.secrets import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.suite.pairs import Pair


def server(
    pair: Pair,
    *,
    gpus: Mapping[str, str],
    hold: Sequence[int],
    output: Callable[[bytes], None],
    started: Callable[[int], None],
) -> ServerAdapter:
    """The adapter of a pair's program; it serves every dataset of its task."""
    where = here(pair)
    argv = arguments(pair.settings, placeholders(pair, where, gpus.get(GPUS, "")))
    load = {"model": pair.task.path, "params": expand(dict(pair.settings.params))}
    env = {**environment(pair, where), **gpus}
    return ServerAdapter(pair.task.name, argv, load, env=env, hold=hold, output=output, started=started, cwd=pair.root)
