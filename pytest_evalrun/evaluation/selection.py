"""What would happen to each pair, without running it: for ``--collect-only`` and ``--eval-only``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.evaluation.context import Context, Launch
from pytest_evalrun.evaluation.life import NEW, Life
from pytest_evalrun.evaluation.stored import paths_of
from pytest_evalrun.rundir.hashes import HashCache
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.runs import check_format, resolve_run
from pytest_evalrun.rundir.tasklist import Status, read_task_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Identity, Reader
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair

ACTIONS = {"reuse": "reuse", "score": "score", "resume": "run", "run": "run", "skip": "skip", "error": "error"}


@dataclass(frozen=True)
class Verdict:
    """What would be done with a pair, why, and how many samples it had when last evaluated."""

    pair: Pair
    action: str
    reason: str
    size: int | None = None

    def line(self) -> str:
        size = f"  {self.size} samples" if self.size is not None else ""
        return f"{ACTIONS[self.action]:5}  {self.pair.full_id}{size}  ({self.reason})"


def verdicts(pairs: Sequence[Pair], workdir: Path, wanted: str) -> Iterator[Verdict]:
    """One a pair, in order. Data is read only where something is stored, and then through the hash cache."""
    paths = existing_run(workdir, wanted)
    if paths is None:
        yield from (_without_run(pair) for pair in pairs)
        return
    context = Survey(Launch(str(paths.root), str(workdir), run_id=""))
    try:
        for pair in pairs:
            yield _verdict(pair, context)
    finally:
        context.close()


def select(only: str, pairs: Sequence[Pair], workdir: Path, wanted: str) -> set[str]:
    """Full ids of the pairs that are ``unfinished``, ``failed`` or ``stale`` by the run's own state."""
    if only == "stale":
        again = ("run", "score")
        return {v.pair.full_id for v in verdicts(pairs, workdir, wanted) if v.action in again and v.reason != NEW}
    paths = existing_run(workdir, wanted)
    states = read_task_list(paths.task_list) or {} if paths else {}
    found = {p.full_id: states.get((f"{p.suite}/{p.task.name}", p.dataset.name), Status.PENDING) for p in pairs}
    if only == "failed":
        return {name for name, state in found.items() if state == Status.FAILED}
    return {name for name, state in found.items() if state != Status.COMPLETED}


def existing_run(workdir: Path, wanted: str) -> RunPaths | None:
    """The run that a launch would carry on in, or None. Raises ConfigError where it cannot be used."""
    paths = resolve_run(WorkDir(workdir), wanted)
    if paths is not None:
        check_format(paths)
    return paths


def _without_run(pair: Pair) -> Verdict:
    return Verdict(pair, "skip", pair.skip) if pair.skip is not None else Verdict(pair, "run", NEW)


def _verdict(pair: Pair, context: Context) -> Verdict:
    if pair.skip is not None:
        return Verdict(pair, "skip", pair.skip)
    paths = paths_of(context.paths, pair)
    if not paths.marker.exists() and not paths.fingerprint.exists() and not paths.predictions.exists():
        return Verdict(pair, "run", NEW)
    try:
        plan = Life(pair, context, paths).plan()
    except EvalrunError as error:
        return Verdict(pair, "error", str(error))
    except Exception as error:  # noqa: BLE001 - a user's reader may raise anything, and it costs its pair only
        return Verdict(pair, "error", f"{type(error).__name__}: {error}")
    size = plan.marker.extra.get("samples") if plan.marker else plan.identity.count
    return Verdict(pair, plan.action, plan.reason, size)


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


class Survey(Context):
    """A context that only looks: what does not change between two pairs is found out once."""

    cache = _RememberingCache

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch, "plan")
        self._identities: dict[tuple[Any, ...], Identity] = {}

    def identity(self, pair: Pair, reader: Reader) -> Identity:
        settings = pair.settings
        what = (settings.format, settings.in_subdir, settings.suffixes, settings.labels, settings.references)
        columns = (settings.id_column, settings.inputs, settings.reference, repr(settings.reader))
        key = (pair.dataset.path, settings.fingerprint, what, columns)
        if key not in self._identities:
            self._identities[key] = super().identity(pair, reader)
        return self._identities[key]
