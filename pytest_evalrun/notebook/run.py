"""A run as DataFrames: ``load`` finds it, ``Run`` reads it, as often as it is asked and without touching it."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError, EvalrunWarning
from pytest_evalrun.report.known import OnDisk, known_pairs, on_disk
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.report.runs import find_run
from pytest_evalrun.report.verdict import verdict_of
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.runs import run_names
from pytest_evalrun.rundir.sessions import session_state
from pytest_evalrun.suite.printable import first_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    import pandas as pd

    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.rows import Summary
    from pytest_evalrun.report.sampleinputs import Inputs
    from pytest_evalrun.report.verdict import Verdict

    Place: TypeAlias = str | os.PathLike[str]

DEFAULT = "outputs/default"


def load(run: Place = "latest", *, workdir: Place | None = None) -> Run:
    """Find a run: ``latest``, a run's name, or the path of its directory.

    ``workdir`` is the directory above the runs; without it ``outputs/default`` here, or in the nearest directory above
    that has one, so that a notebook may lie anywhere in the project. Nothing is read yet, and nothing ever changed: the
    run may be a living one.

    Raises ConfigError where there is no such run, with the names of those that there are.
    """
    place = _nearest() if workdir is None else Path(workdir)
    wanted = os.fspath(run)
    if isinstance(run, os.PathLike) and os.sep not in wanted:
        wanted = os.path.join(".", wanted)  # noqa: PTH118 - Path would drop the dot that makes it a path
    elif os.sep not in wanted and not run_names(WorkDir(place.absolute())):
        raise ConfigError(f"{place}: no run here; start one with pytest, or name the directory above its run: workdir=")
    found = find_run(wanted, place)
    if found.remark:
        _warn([found.remark])
    return Run(found.paths.root)


def _nearest() -> Path:
    here = Path.cwd()
    above = (place / DEFAULT for place in (here, *here.parents))
    return next((place for place in above if place.is_dir()), Path(DEFAULT))


@dataclass(frozen=True, repr=False)
class Run:
    """A run and what is in it, as pandas DataFrames; docs/notebook.md lists their columns, dtypes and units.

    Each is read anew when it is asked for: keep it in a variable. A damaged file costs only what it says itself, and a
    warning (EvalrunWarning) names it.
    """

    path: Path
    """The directory of the run."""

    @property
    def name(self) -> str:
        """What the run is called: the name of its directory."""
        return self.path.name

    @property
    def verdict(self) -> Verdict:
        """How the run came out: ``word``, ``line``, ``counts``, ``breaches`` and ``troubles``."""
        return verdict_of(self._summary())

    @property
    def pairs(self) -> pd.DataFrame:
        """Every pair that the run knows of: how it stands, how many samples it has, seconds and seconds a sample.

        Evaluations of first samples alone (``--eval-limit``) come last; their ``limit`` says how many.
        """
        from pytest_evalrun.notebook.tables import pairs_frame

        known = known_pairs(self._paths)
        _warn(f"{self.path / name}: damaged; the rest is shown" for name in known.damaged)
        return pairs_frame([*known.pairs, *known.limits], self._on_disk().is_gone)

    @property
    def results(self) -> pd.DataFrame:
        """One row a pair and metric: value, 95 % interval, n, whether its gates hold; and counts and seconds."""
        from pytest_evalrun.notebook.tables import results_frame

        return results_frame(self._summary(warn=True))

    @property
    def gates(self) -> pd.DataFrame:
        """One row a gate: what was judged by which limit, and how far it is off."""
        from pytest_evalrun.notebook.tables import gates_frame

        return gates_frame(self._summary(warn=True))

    @property
    def history(self) -> pd.DataFrame:
        """Every completed evaluation of the work directory, of other runs too, oldest first: a row a metric."""
        from pytest_evalrun.notebook.tables import history_frame
        from pytest_evalrun.rundir.results import read_history

        file, damaged = WorkDir(self.path.parent).history, list[int]()
        found = history_frame(read_history(file, damaged))
        _warn_of_lines(file, damaged)
        return found

    @property
    def events(self) -> pd.DataFrame:
        """What happened in the run, a row an event, in the order in which the controller learned of it."""
        from pytest_evalrun.notebook.tables import events_frame
        from pytest_evalrun.rundir.events import read_events

        damaged = list[int]()
        found = events_frame(read_events(self._paths.events, damaged))
        _warn_of_lines(self._paths.events, damaged)
        return found

    def samples(self, pair: str, *, inputs: bool = True) -> pd.DataFrame:
        """Every answer of a pair, in dataset order, with its scores: a row a sample, or one a generation.

        ``pair`` is ``task/dataset``, ``suite/task/dataset``, either with ``.limit-N`` behind it, or a pytest id. What
        was asked stands beside it where the suite is still there; ``inputs=False`` does without, for a dataset that
        takes long to read.

        Raises ConfigError for a pair that the run does not have, with the nearest names.
        """
        from pytest_evalrun.notebook.samples import samples_of
        from pytest_evalrun.report.lookup import find_pair
        from pytest_evalrun.report.sampleinputs import Inputs

        known = known_pairs(self._paths)
        found = find_pair(pair, [*known.pairs, *known.limits])
        problems: list[str] = []
        asked = self._inputs(found, problems) if inputs else Inputs()
        frame = samples_of(self._paths.pair(found.key), found.row, asked, problems, live=self._is_live)
        _warn([*problems, *(f"{found.full_id}: the inputs are not shown: {problem}" for problem in asked.problems)])
        return frame

    def diff(self, other: Run | Place, *, samples: int = 10) -> pd.DataFrame:
        """What changed from another run to this one: a row a pair and metric, and how many samples turned.

        ``other`` is a run, its path, or what it is called in the same work directory; ``samples`` is how many ids of
        turned samples are listed, each way. Raises ConfigError where there is no such run.
        """
        from pytest_evalrun.notebook.tables import diff_frame
        from pytest_evalrun.report.diff import diff_runs

        before = other if isinstance(other, Run) else load(other, workdir=self.path.parent)
        found = diff_runs(RunPaths(before.path), self._paths, samples)
        _warn(f"{name}: damaged; the rest is compared" for name in found.damaged)
        return diff_frame(found, before.name, self.name)

    def to_parquet(self, directory: Place, *, samples: bool = True) -> list[Path]:
        """Write each DataFrame into a file of its own below a directory; the files that were written.

        They are called pairs, results, gates, history and events; those of samples, unless they are not wanted, are
        ``samples/SUITE/TASK/DATASET.parquet``. Raises ConfigError where pyarrow is missing.
        """
        from pytest_evalrun.notebook.parquet import check_pyarrow, write_frames

        check_pyarrow()
        return write_frames(self._frames(samples), Path(directory))

    def _frames(self, samples: bool) -> Iterator[tuple[str, pd.DataFrame]]:
        for name in ("pairs", "results", "gates", "history", "events"):
            yield name, getattr(self, name)
        known = known_pairs(self._paths)
        for pair in (*known.pairs, *known.limits) if samples else ():
            yield f"samples/{'/'.join(pair.key)}", self.samples(pair.full_id)

    def __repr__(self) -> str:
        from pytest_evalrun.notebook.shown import as_text

        return as_text(self.name, self._summary(), live=self._is_live)

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, what is wrong, and the matrices."""
        from pytest_evalrun.notebook.shown import as_html

        return as_html(self.name, self._summary(), live=self._is_live)

    @property
    def _paths(self) -> RunPaths:
        return RunPaths(self.path)

    @property
    def _is_live(self) -> bool:
        return session_state(self._paths).word == "live"

    def _on_disk(self) -> OnDisk:
        """The suites as they are today; of one that is wrong nothing is gone."""
        try:
            return on_disk(self._paths)
        except ConfigError:
            return OnDisk({})

    def _summary(self, *, warn: bool = False) -> Summary:
        disk = self._on_disk()
        summary = read_summary(self._paths, disk.is_gone, disk.skips)
        if warn:
            _warn((f"{self.path / name}: cannot be read; the rest is shown" for name in summary.unreadable), above=4)
        return summary

    def _inputs(self, pair: KnownPair, problems: list[str]) -> Inputs:
        from pytest_evalrun.report.inputs import inputs_in
        from pytest_evalrun.report.sampleinputs import Inputs

        try:
            return inputs_in(self._paths)(pair.suite, pair.task, pair.dataset)
        except ConfigError as error:
            problems.append(str(error))
            return Inputs()


def _warn(texts: Iterable[str], above: int = 3) -> None:
    """Warn; ``above`` is how many calls above this one somebody asked."""
    for text in texts:
        warnings.warn(text, EvalrunWarning, stacklevel=above)


def _warn_of_lines(file: Path, damaged: list[int]) -> None:
    if damaged:
        _warn([f"{file}: cannot be read: line {first_of(list(map(str, damaged)), 10)}; the rest is shown"], above=4)
