"""What ``baseline: NAME`` of a gate means for a pair: the file of a saved baseline, else what a run has of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.baselinefile import directories_of, file_among
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.layout import RunPaths, key_of
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.rundir.runs import is_run_name

if TYPE_CHECKING:
    from pytest_evalrun.rundir.layout import PairPaths, WorkDir
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.pairs import Pair


class BaselineLookup:
    """Runs are those of ``workdir``; of a suite the directories of saved baselines are looked for once."""

    def __init__(self, workdir: WorkDir) -> None:
        self.workdir = workdir
        self._directories: dict[tuple[str, str], list[Path]] = {}

    def find(self, pair: Pair, name: str) -> Path | RunPaths | None:
        """The pair's file in a saved baseline, before the run of that name; a path is that of a run.

        None where there is neither. Raises PairError for a saved baseline that lacks the pair, or that is not read.
        """
        is_path = "/" in name
        if not is_path and (file := self._file(pair, name)) is not None:
            return file
        run = RunPaths(Path(pair.root, name)) if is_path else self.workdir.run(name)
        return run if (is_path or is_run_name(name)) and run.run_json.is_file() else None

    def _file(self, pair: Pair, name: str) -> Path | None:
        where = pair.root, name
        if where not in self._directories:
            self._directories[where] = directories_of(Path(pair.root), name)
        return file_among(self._directories[where], name, pair.key)


def result_in(run: RunPaths, pair: Pair) -> tuple[PairPaths, Result]:
    """What a run has of a pair: of a limited evaluation that of as many samples, where it has one, else the whole.

    Raises PairError where that is no result with scores.
    """
    for key in dict.fromkeys((key_of(pair), pair.key)):
        paths = run.pair(key)
        if (result := read_result(paths.result)) is not None and result.metrics:
            return paths, result
    raise PairError(
        f"the run {run.root} has no result of {pair.full_id} with scores; evaluate the pair there, too",
        brief=f"the run {run.root.name} has no result of this pair",
    )
