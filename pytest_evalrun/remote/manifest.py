"""The things that a launch would leave on boards if it were killed, noted in the run before anything is put there."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.runs import BoardRecord, merged
from pytest_evalrun.slots.need import need_of
from pytest_evalrun.suite.devices import asks_for_boards, devices_of, home_of
from pytest_evalrun.suite.settings import Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.pairs import Pair


# The work directory of a program that is kept running is its task's, and is called like that of a dataset of this name.
SERVER = ".server"


def boards_of(suites: Iterable[Suite]) -> list[BoardRecord]:
    """The boards that pairs of the suites may use, with the names of what these pairs put there.

    No board is spoken to, and of suites that know of none no settings are resolved.
    """
    boards: dict[tuple[str, str], tuple[BoardRecord, set[str], set[str]]] = {}
    for pair in (pair for suite in suites for pair in suite.pairs):
        if pair.skip is not None or not asks_for_boards(pair) or not need_of(pair.settings).devices:
            continue
        from pytest_evalrun.remote.models import model_name  # where there is no board, nothing of SSH is imported

        path = pair.task.path
        model = {model_name(pair.key.task, PurePath(path).suffix)} if path is not None else set()
        for spec in devices_of(pair.settings):
            record = BoardRecord(spec, home_of(spec, pair.settings), (), ())
            _, work, models = boards.setdefault(record.place, (record, set(), set()))
            work.update(work_names(pair))
            models |= model
    named = (BoardRecord(one.spec, one.home, tuple(work), tuple(models)) for one, work, models in boards.values())
    return merged((), named)


def work_names(pair: Pair) -> Iterator[str]:
    """The directories of a pair on a board, but for the ranges and numbers that are put behind these names."""
    from pytest_evalrun.remote.places import work_name

    yield work_name(pair.key.task, pair.key.dataset)
    if pair.settings.kind.way(pair.settings) is Way.SERVER:
        yield work_name(pair.key.task, SERVER)
