"""The ranges of a pair as they are written down: begun, kept from an interrupted program, completed."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.commands import program_of
from pytest_evalrun.programs.results import KeptRows, is_older, matching
from pytest_evalrun.rundir.aside import STALE
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.shards import plain, read_ranges
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.programs.results import Results
    from pytest_evalrun.rundir.shards import RangeFiles, WorkerArgs
    from pytest_evalrun.suite.settings import Settings


class Records:
    """Records of a pair's ranges. ``samples`` gives those of some positions, ``bounds`` a range as programs know it."""

    def __init__(
        self,
        files: RangeFiles,
        settings: Settings,
        results: Results,
        samples: Callable[[int, int], Iterable[Sample]],
        bounds: Callable[[int, int], tuple[int, int]],
    ) -> None:
        self.files = files
        self.began = 0.0
        self.generation = files.generation()
        self._settings = settings
        self._results = results
        self._samples = samples
        self._bounds = bounds

    def begin(self, args: Mapping[str, Any]) -> None:
        """Forget what other predictions were made with; what these were begun with stays."""
        known = self._known()
        if known is not None:
            self.began = known
            return
        self.began = time.time()
        for record in self._all():
            self.files.remove(record)
        shutil.rmtree(self.files.paths.program_files, ignore_errors=True)
        self.files.write_args({"generation": self.generation, "began": self.began, **args})

    def schedule(self, config: Mapping[str, Any], ranges: Callable[[], Iterable[tuple[int, int]]]) -> None:
        """Write down what this launch does it with; its ``ranges``, as programs know them, if there were others."""
        known = self.files.scheduler_config()
        if {name: value for name, value in known.items() if name != "ranges"} != plain(config):
            self.files.write_scheduler_config({"ranges": list(ranges()), **config})

    def settle(self, low: int, high: int) -> None:
        """Make a range of its own of the complete rows of a program that was interrupted; the rest goes."""
        for record in self._all():
            if record.status != "completed" and record.pattern and record.overlaps(low, high):
                self._settle(record)

    def completed(self, low: int, high: int) -> list[WorkerArgs]:
        return [record for record in self._all() if record.status == "completed" and record.overlaps(low, high)]

    def make_room(self, pattern: str, low: int, high: int) -> None:
        """Put what others wrote out of a program's way before it writes there, and drop old failures."""
        for record in self._all():
            if record.status != "completed" and record.overlaps(low, high):
                self.files.remove(record)
            elif record.pattern == pattern:
                self.files.write(replace(record, files=tuple(map(self._moved, record.files))))
        for path in matching(pattern):
            if is_older(path, self.began):
                path.replace(path.with_name(path.name + STALE))

    def keep(self, record: WorkerArgs, files: list[Path], *, whole: bool) -> WorkerArgs | None:
        """Copy all sound rows, and give the range of the copy; None where there are none."""
        first, last = record.positions
        kind = "csv" if program_of(self._settings).results.get("csv") else "jsonl"
        kept = KeptRows(self._free(f"{record.low}_{record.high}", files), kind)
        positions: list[int] = []
        rows = 0
        try:
            answers = self._results.answers(files, lambda: self._samples(first, last), whole=whole, strict=False)
            for answer in answers:
                if answer.error is None and answer.rows:
                    kept.add(answer.rows)
                    rows += len(answer.rows)
                    positions = [positions[0] if positions else answer.sample.index, answer.sample.index + 1]
        except PairError:  # not even a header: there is nothing to keep
            kept.drop()
            return None
        except BaseException:
            kept.drop()
            raise
        if not positions:
            kept.drop()
            return None
        return replace(record, rows=rows, files=(str(kept.close()),), positions=(positions[0], positions[1]))

    def _all(self) -> list[WorkerArgs]:
        return list(read_ranges(self.files.paths.programs))

    def _known(self) -> float | None:
        try:
            args = parse_json(read_file(self.files.paths.args))
            return float(args["began"]) if args["generation"] == self.generation else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _settle(self, record: WorkerArgs) -> None:
        written = [path for path in matching(record.pattern) if not is_older(path, self.began)]
        kept = None
        if self._results.keeps and program_of(self._settings).rows == "one" and written:
            kept = self.keep(record, written, whole=False)
        self.files.write(replace(record, status="failed", pattern=""))
        if kept is not None:
            low, high = self._bounds(*kept.positions)
            self.files.write(replace(kept, low=low, high=high, status="completed", pattern="", error=None))
        if self._results.keeps:
            for path in written:
                path.unlink(missing_ok=True)

    def _moved(self, name: str) -> str:
        """Move a result whose place is needed to our own files, and give its name there."""
        path = Path(name)
        if path.parent == self.files.paths.program_files or not path.exists():
            return name
        target = self._free(path.stem, [path])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        return str(target)

    def _free(self, stem: str, files: list[Path]) -> Path:
        """Find a name that no kept file has."""
        suffix = files[0].suffix
        number = 0
        while (path := self.files.paths.program_files / f"{stem}{f'.{number}' if number else ''}{suffix}").exists():
            number += 1
        return path
