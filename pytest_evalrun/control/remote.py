"""Remove from boards what a run left there: what its own manifest names, and nobody uses."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_evalrun.control.clean import amount
from pytest_evalrun.control.selection import other_manifests
from pytest_evalrun.errors import ConfigError, EvalrunError
from pytest_evalrun.remote.boards.atonce import at_once
from pytest_evalrun.remote.boards.survey import PATIENCE
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.faults import LinkLost
from pytest_evalrun.remote.hosts import host_of
from pytest_evalrun.remote.leftovers import drop_bare_cache, look, model_of, take_away
from pytest_evalrun.remote.manifest import SERVER
from pytest_evalrun.remote.models import model_name
from pytest_evalrun.remote.places import CACHE, WORK, checked, pair_directory, work_name
from pytest_evalrun.rundir.runs import boards_in, read_run_json
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.printable import first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pytest_evalrun.remote.leftovers import Leftover
    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.runs import FoundRun
    from pytest_evalrun.rundir.runs import BoardRecord

_SHOWN = 5


@dataclass(frozen=True)
class BoardCleaning:
    """A plan of what goes from one board; ``stays`` is in use. ``trouble`` says why nobody could look, or what failed.

    ``others`` are names that other runs have here: what may stem from both is theirs where their name is longer.
    """

    record: BoardRecord
    others: frozenset[str] = frozenset()
    goes: tuple[Leftover, ...] = ()
    stays: tuple[Leftover, ...] = ()
    trouble: str = ""

    @property
    def name(self) -> str:
        return self.record.spec.name

    def lines(self) -> Iterator[str]:
        """One line for each thing that goes, then for what stays although the run made it."""
        for found in self.goes:
            yield f"{self._shown(found)}  {amount(found.bytes)}"
        for found in self.stays:
            yield f"{self._shown(found)}  stays: a live session uses it"

    def complaint(self) -> str:
        """Say what went wrong, and what may therefore be left."""
        names = [*self.record.work, *(f"{CACHE}/{model}" for model in self.record.models)]
        left = f"; what is there of {first_of(names, _SHOWN)} stays" if names else ""
        text = self.trouble if self.trouble.startswith("board ") else f"board {self.name}: {self.trouble}"
        return f"{text}{left}"

    def _shown(self, found: Leftover) -> str:
        home = f"{self.record.home.rstrip('/')}/" if self.record.home else ""
        return f"board {self.name}: {home}{found.name}"


def plan_boards(found: FoundRun, pairs: Sequence[KnownPair] | None, known: Sequence[KnownPair]) -> list[BoardCleaning]:
    """Ask the boards what would go with these of the ``known`` pairs, or with the whole run where they are None.

    A board that cannot be reached is one of the plans, with its trouble.
    """
    others = _of_other_runs(found)
    records = boards_in(found.paths, read_run_json(found.paths))
    plans = []
    for record in records:
        _check(record)
        here = _narrowed(record, pairs, known) if pairs is not None else record
        rest = {*record.work, *others.get(record.place, ())} - {*here.work}
        if here.work or here.models:
            plans.append(BoardCleaning(here, frozenset(rest)))
    return at_once(partial(_on_board, _look), plans)


def clean_boards(plans: Sequence[BoardCleaning]) -> list[BoardCleaning]:
    """Do it, on all at once; what came up meanwhile stays. The plans come back with what went wrong."""
    return at_once(partial(_on_board, _clean), plans)


def _check(record: BoardRecord) -> None:
    """Raise ConfigError before any board is asked: a manifest that names anything else was not written by us."""
    for name in record.work:
        if not checked(name).startswith(WORK):
            raise ConfigError(f"run.json: boards: {name!r} is no work directory; nothing was changed")
    for model in record.models:
        if model_of(checked(f"{CACHE}/{model}")) != model:
            raise ConfigError(f"run.json: boards: {model!r} is no model; nothing was changed")


def _narrowed(record: BoardRecord, pairs: Sequence[KnownPair], known: Sequence[KnownPair]) -> BoardRecord:
    """Narrow a record to what belongs to these pairs alone: what is their task's goes when all pairs of it do."""
    chosen = {pair.key for pair in pairs}
    rest = [pair for pair in known if pair.key not in chosen]
    strange = set(record.work) - {_work(pair) for pair in known}  # of pairs that a damaged list does not know
    tasks, kept = {pair.key.task for pair in pairs}, {pair.key.task for pair in rest}
    kept |= {task for task in tasks if any(_may_be_of(name, task) for name in strange)}
    work = {_work(pair) for pair in pairs} - {_work(pair) for pair in rest}
    work |= {work_name(task, SERVER) for task in tasks - kept}
    models = [name for name in record.models if _is_of(name, tasks) and not _is_of(name, kept)]
    return replace(record, work=tuple(name for name in record.work if name in work), models=tuple(models))


def _work(pair: KnownPair) -> str:
    """A limited evaluation works where its whole pair does."""
    return work_name(pair.key.task, safe_name(pair.place[1]))


def _may_be_of(work: str, task: str) -> bool:
    return work.startswith(work_name(task, "")) and work != work_name(task, SERVER)


def _is_of(model: str, tasks: Collection[str]) -> bool:
    return any(model in (model_name(task, ""), model_name(task, PurePath(model).suffix)) for task in tasks)


def _of_other_runs(found: FoundRun) -> dict[tuple[str, str], set[str]]:
    """Names of work directories that the runs beside this one have on each board."""
    named: dict[tuple[str, str], set[str]] = {}
    for paths, manifest in other_manifests(found):
        with suppress(ConfigError):
            for record in boards_in(paths, manifest):
                named.setdefault(record.place, set()).update(record.work)
    return named


def _on_board(do: Callable[[BoardCleaning, Connection], BoardCleaning], plan: BoardCleaning) -> BoardCleaning:
    try:
        with Connection(host_of(plan.record.spec), home=plan.record.home, limits=PATIENCE) as board:
            return do(plan, board)
    except (EvalrunError, LinkLost, TimeoutError) as error:
        return replace(plan, trouble=str(error))


def _look(plan: BoardCleaning, board: Connection) -> BoardCleaning:
    ours = [found for found in look(board) if _is_ours(found.name, plan)]
    return replace(
        plan,
        goes=tuple(found for found in ours if not found.used),
        stays=tuple(found for found in ours if found.used),
    )


def _clean(plan: BoardCleaning, board: Connection) -> BoardCleaning:
    """Take away what was agreed to, as far as nobody has taken it up since: somebody may have thought for long."""
    agreed = {found.name for found in plan.goes}
    now = [found for found in _look(plan, board).goes if found.name in agreed]
    gone = [found for found in now if take_away(board, found.name)]
    if any(model_of(found.name) for found in gone):
        drop_bare_cache(board)
    return replace(plan, goes=tuple(gone))


def _is_ours(name: str, plan: BoardCleaning) -> bool:
    if model := model_of(name):
        return model in plan.record.models
    return pair_directory(name, {*plan.record.work, *plan.others}) in plan.record.work
