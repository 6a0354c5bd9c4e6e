"""What would happen to each pair, without running it: for ``--collect-only`` and ``--eval-only``."""

from __future__ import annotations

import json
import warnings
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.datasets.protocol import Identity
from pytest_evalrun.errors import EvalrunError, EvalrunWarning
from pytest_evalrun.evaluation.cuts import data_of
from pytest_evalrun.evaluation.fingerprint import prediction_parts, score_parts, wanted_of
from pytest_evalrun.evaluation.plan import BACK, MEND, NEW, plan_of
from pytest_evalrun.evaluation.shards import tally_of
from pytest_evalrun.evaluation.stored import StoredPair, trouble_of
from pytest_evalrun.rundir.hashes import HashCache, HashCaches
from pytest_evalrun.rundir.layout import WorkDir, paths_of
from pytest_evalrun.rundir.planindex import PlanIndex, digest
from pytest_evalrun.rundir.results import FAILED, read_result
from pytest_evalrun.rundir.runs import check_format, resolve_run
from pytest_evalrun.rundir.tasklist import Status, read_task_list
from pytest_evalrun.suite.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Reader
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.tally import Tally
    from pytest_evalrun.rundir.tasklist import Place
    from pytest_evalrun.suite.pairs import Pair


@dataclass(frozen=True)
class PairOutlook:
    """What would be done with a pair, why, and how many samples it had when last evaluated.

    ``action`` is ``run``, ``resume``, ``score``, ``reuse``, ``skip`` or ``error``.
    """

    pair: Pair
    action: str
    reason: str
    size: int | None = None


def verdicts(pairs: Sequence[Pair], workdir: Path, wanted: str) -> Iterator[PairOutlook]:
    """One a pair, in order. Data is read only where something is stored, and then through the hash cache."""
    paths = existing_run(workdir, wanted)
    if paths is None:
        yield from (_without_run(pair) for pair in pairs)
        return
    store = WorkDir(workdir).hashes
    with (
        closing(HashCaches(store, _warn, _RememberingCache)) as hashes,
        closing(PlanIndex(store, paths.root, _warn)) as index,
    ):
        survey = _Survey(paths, hashes, index)
        for pair in pairs:
            yield _verdict(pair, survey)


def _warn(text: str) -> None:
    warnings.warn(printable(text), EvalrunWarning, stacklevel=2)


def select(only: str, pairs: Sequence[Pair], workdir: Path, wanted: str) -> set[str]:
    """Full ids of the pairs that are ``unfinished``, ``failed`` or ``stale`` by the run's own state."""
    if only == "stale":
        again = ("run", "score")
        return {v.pair.full_id for v in verdicts(pairs, workdir, wanted) if v.action in again and v.reason != NEW}
    paths = existing_run(workdir, wanted)
    states = read_task_list(paths.task_list) or {} if paths else {}
    due = [pair for pair in pairs if pair.skip is None]
    found = {pair.full_id: _stands(pair, states, paths) for pair in due}
    if only == "failed":
        return {name for name, state in found.items() if state == Status.FAILED}
    return {name for name, state in found.items() if state != Status.COMPLETED}


def _stands(pair: Pair, states: Mapping[Place, Status], paths: RunPaths | None) -> Status:
    """By the task list; of what the last launch knew nothing of, by what an earlier one has left."""
    if (state := states.get((f"{pair.suite}/{pair.task.name}", pair.dataset.name))) is not None:
        return state
    files = paths.pair(pair.key) if paths is not None else None
    result = read_result(files.result) if files is not None else None
    if files is None or result is None:
        return Status.PENDING
    if result.status in FAILED:
        return Status.FAILED
    return Status.COMPLETED if files.marker.exists() else Status.PENDING


def existing_run(workdir: Path, wanted: str) -> RunPaths | None:
    """The run that a launch would carry on in, or None. Raises ConfigError where it cannot be used."""
    paths = resolve_run(WorkDir(workdir), wanted)
    if paths is not None:
        check_format(paths)
    return paths


def _without_run(pair: Pair) -> PairOutlook:
    if pair.skip is not None:
        return PairOutlook(pair, "skip", pair.skip)
    return PairOutlook(pair, "run", NEW, len(pair.positions) if pair.positions is not None else None)


def _verdict(pair: Pair, survey: _Survey) -> PairOutlook:
    if pair.skip is not None:
        return _without_run(pair)
    whole = survey.of(pair)
    paths, stored = whole.paths, whole.stored
    entry = survey.index.entry(paths) if pair.positions is None else None
    if not (entry or paths.marker.exists() or paths.fingerprint.exists() or stored.has_predictions):
        return _without_run(pair)
    try:
        if entry is not None and entry.wanted == survey.wanted(pair):
            return PairOutlook(pair, "reuse", entry.reason, _limited(entry.samples, pair))
        if pair.positions is not None:
            return _of_shard(pair, pair.positions, whole)
        plan = whole.plan
        if plan.action == "reuse" and plan.marker is not None:
            survey.index.note(paths, survey.wanted(pair), plan.reason, plan.marker)
    except EvalrunError as error:
        return PairOutlook(pair, "error", str(error))
    except Exception as error:  # noqa: BLE001 - a user's reader may raise anything, and it costs its pair only
        return PairOutlook(pair, "error", str(trouble_of(error, paths)))
    size = plan.marker.extra.get("samples") if plan.marker else plan.wanted.total
    return PairOutlook(pair, _action(whole), plan.reason, _limited(size, pair))


def _limited(size: int | None, pair: Pair) -> int | None:
    limit = pair.peek("limit")
    return min(size, limit * (pair.peek("generations") or 1)) if size and limit else size


def _action(whole: _PairAtHand) -> str:
    """Say what a plan comes to: where a part was damaged the model is asked, but not for what lies aside complete."""
    if whole.plan.action == BACK:
        aside = whole.stored.aside
        return "score" if aside is not None and aside.marker is not None else "run"
    return "run" if whole.plan.action == MEND else whole.plan.action


def _of_shard(pair: Pair, own: range, whole: _PairAtHand) -> PairOutlook:
    action = _action(whole)
    if action == "run":
        return PairOutlook(pair, action, whole.plan.reason, len(own))
    if action == "reuse" or whole.plan.action == BACK:
        return PairOutlook(pair, "reuse", "reused: its pair is complete", len(own))
    found, positions = whole.predicted, range(own.start, min(own.stop, whole.plan.wanted.total))
    already, seen = sum(map(found.is_done, positions)), sum(map(found.is_seen, positions))
    if already == len(own):
        return PairOutlook(pair, "reuse", "reused: all its samples were predicted before", len(own))
    failed = "" if already else f": {seen} failed before"
    return PairOutlook(pair, "resume", f"resumed at {already} of {len(own)} samples{failed}" if seen else NEW, len(own))


class _RememberingCache(HashCache):
    """Looks at each file once only."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: dict[tuple[str, Path], str] = {}

    def file(self, path: Path) -> str:
        return self._once("file", path, super().file)

    def path(self, path: Path) -> str:
        return self._once("path", path, super().path)

    def _once(self, kind: str, path: Path, look: Callable[[Path], str]) -> str:
        if (kind, path) not in self._seen:
            self._seen[kind, path] = look(path)
        return self._seen[kind, path]


class _PairAtHand:
    """What lies there of one pair, and what would be done with it; of its shards too, which come just before it."""

    def __init__(self, pair: Pair, survey: _Survey) -> None:
        self.pair = pair
        self.paths = paths_of(survey.run, pair)
        self.stored = StoredPair(self.paths)
        self._survey = survey

    @cached_property
    def plan(self) -> Plan:
        pair, stored, hashes = self.pair, self.stored, self._survey.hashes.of(self.pair.settings.fingerprint)
        reader = create_reader(pair.dataset, pair.settings, pair.root)
        wanted = wanted_of(pair, reader, self._survey.identity(pair, reader), hashes)
        if warning := stored.warning(pair.full_id):
            _warn(warning)
        return plan_of(stored, wanted, hashes)

    @cached_property
    def predicted(self) -> Tally:
        """Which samples were predicted, by the pair itself or its shards."""
        wanted = self.plan.wanted
        return tally_of(self.paths, wanted.total, generations=wanted.generations)


class _Survey:
    """Plans pair after pair and only looks: what does not change between two pairs is found out once."""

    def __init__(self, run: RunPaths, hashes: HashCaches, index: PlanIndex) -> None:
        self.run = run
        self.hashes = hashes
        self.index = index
        self._identities: dict[tuple[Any, ...], Identity] = {}
        self._data: dict[tuple[Any, ...], Identity] = {}
        self._asked: dict[tuple[Any, ...], str] = {}
        self._at_hand: _PairAtHand | None = None

    def of(self, pair: Pair) -> _PairAtHand:
        """The whole pair."""
        whole = pair.whole
        if self._at_hand is None or self._at_hand.pair != whole:
            self._at_hand = _PairAtHand(whole, self)
        return self._at_hand

    def wanted(self, pair: Pair) -> str:
        """A digest of all that a pair's fingerprint says: layers, models and data are those of many pairs.

        Raises what planning the pair would raise.
        """
        stack = (pair.root, *map(id, pair.layers))
        if (data := (pair.dataset, stack)) not in self._data:
            self._data[data] = self.identity(pair, create_reader(pair.dataset, pair.settings, pair.root))
        if (asked := (pair.task, stack)) not in self._asked:
            hashes, nothing = self.hashes.of(pair.settings.fingerprint), Identity("", "", 0)
            parts = [prediction_parts(pair, nothing, hashes), score_parts(pair, nothing, hashes)]
            self._asked[asked] = json.dumps(parts, sort_keys=True)
        identity = self._data[data]
        said = [identity.inputs, identity.references, str(identity.count), *filter(None, [identity.clusters])]
        return digest(f"{self._asked[asked]} {' '.join(said)}")

    def identity(self, pair: Pair, reader: Reader) -> Identity:
        key = data_of(pair)
        if key not in self._identities:
            self._identities[key] = reader.identity(self.hashes.of(pair.settings.fingerprint))
        return self._identities[key]
