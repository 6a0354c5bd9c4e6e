"""Judges are asked before a pair is scored; their verdicts are kept as they come, and never paid twice.

A verdict is known by the digest of what was sent for it. Whatever changed, a text that was judged before is not sent
again: not after a kill, not when predictions were made again, not where two answers are the same.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.evaluation.judges import Answered, judges_of
from pytest_evalrun.evaluation.score import first_failure
from pytest_evalrun.evaluation.usage import UsageTally
from pytest_evalrun.metrics.judge import Unread, share_or_count
from pytest_evalrun.predicting.outputs import Outputs, output_directory
from pytest_evalrun.predicting.spending import check_begin, currency_of
from pytest_evalrun.predicting.ways import predict
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.rundir.differences import difference
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.markers import read_fingerprint, write_fingerprint
from pytest_evalrun.rundir.predictions import Line, PredictionsFile
from pytest_evalrun.rundir.sampleids import scratch
from pytest_evalrun.suite.jsontext import parse_line
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.judges import PairJudge
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.evaluation.steps import Steps
    from pytest_evalrun.rundir.layout import JudgedPaths
    from pytest_evalrun.rundir.predictions import Progress

LINES = 256
# What a line says of a verdict that was given to another answer with the same text, and is paid there.
_OF_A_COPY = ("digest", "finish_reason", "model")


class Judgement:
    """The verdicts of one judge over a pair, in the order of its answers; what could not be read is counted."""

    def __init__(self, judge: PairJudge, verdicts: Progress) -> None:
        self.judge = judge
        self.usage = UsageTally()
        self.read = self.failed = 0
        self.first = ""
        self._verdicts = verdicts

    def __iter__(self) -> Iterator[float | None]:
        for line in self._verdicts.ordered():
            self.usage.add([line])
            try:
                points = self._points(line)
            except Unread as error:
                self.failed += 1
                self.first = self.first or f"{line.id}: {error}"
                yield None
            else:
                self.read += 1
                yield points

    def _points(self, line: Line) -> float:
        if line.status != "ok":
            raise Unread(line.error)
        if (line.detail or {}).get("finish_reason") == "length":
            raise Unread("the judge was cut off (finish_reason: length)")
        return self.judge.metric.scale.read(str(line.prediction))

    def why_none(self) -> str:
        return f"none of {counted(self.failed, 'verdict')} could be read; the first: {self.first}"

    def paid(self) -> dict[str, Any] | None:
        """What its verdicts took, as it stands in a result."""
        return self.usage.to_json(currency_of(self.judge.pair.settings))

    def check(self) -> str | None:
        """Say how many verdicts are missing. Raises PairError where these are more than may be."""
        if not self.failed:
            return None
        count = self.read + self.failed
        told = f"{self.judge.name}: {self.failed} of {counted(count, 'verdict')} could not be read"
        most = share_or_count(self.judge.metric.max_failed, count)
        if most is not None and self.failed > most:
            raise PairError(f"{told} (max_failed is {self.judge.metric.max_failed}); the first: {self.first}")
        return f"{told} and count for nothing; the first: {self.first}"


def judge_answers(steps: Steps, plan: Plan, samples: Iterable[Sample], progress: Progress) -> dict[str, Judgement]:
    """Have each judge of a pair give its verdict on every answer that has none yet; by the name of the metric.

    Raises PairError where a judge cannot be asked, or the money is spent: predictions and verdicts stay.
    """
    judges = judges_of(steps.pair)
    if not judges:
        return {}
    steps.check_failures(plan, progress.done_count, progress.failed_count, first_failure(progress.ordered()))
    if not progress.in_order:  # as it will lie there from now on: verdicts depend on what it says
        progress.rewrite(steps.disk, progress.ordered())
    outputs = Outputs(output_directory(steps.pair, steps.paths))
    several = len(judges) > 1
    return {
        judge.name: _judged(steps, plan, judge, Answered(judge, samples, progress, outputs), progress, several=several)
        for judge in judges
    }


def _judged(
    steps: Steps, plan: Plan, judge: PairJudge, answered: Answered, progress: Progress, *, several: bool
) -> Judgement:
    paths = steps.paths.judged(safe_name(judge.name) if several else None)
    identity = judge.identity(steps.hashes)
    parts = {
        "judge": identity,
        "inputs": plan.wanted.prediction["inputs"],
        "references": plan.wanted.score["references"],
        "answer": dict(steps.pair.settings.answer or {}),
        "predictions": steps.hashes.file(progress.path),
    } | judge.files
    stored = read_fingerprint(paths.fingerprint)
    if stored is None or difference(stored.parts, parts, steps.hashes):
        put_aside(paths)
        steps.disk.mark(os.fspath(paths.known_verdicts))
        write_fingerprint(steps.disk, paths.fingerprint, parts, steps.launch.run_id)
    verdicts = PredictionsFile(paths.predictions).open(steps.disk, progress.count)
    if verdicts.repaired:
        steps.warn(verdicts.repaired)
    try:
        if verdicts.done_count < progress.done_count:
            work = PairWork(judge.pair, paths, verdicts, steps.context, range(progress.count))
            _Asking(steps, judge, work, paths, identity).ask(answered, verdicts, progress.done_count)
    finally:
        verdicts.close()
    return Judgement(judge, verdicts)


def put_aside(paths: JudgedPaths) -> None:
    """Verdicts on something else become known ones: what is judged again is looked for among them.

    Killed in between, some of them lie there twice, which hurts nobody.
    """
    if not paths.predictions.exists():
        return
    if not paths.known_verdicts.exists():
        paths.predictions.replace(paths.known_verdicts)
        return
    with paths.predictions.open("rb") as new, paths.known_verdicts.open("ab") as known:
        known.write(b"\n")  # of a line that a crash has torn
        while block := new.read(1 << 16):
            known.write(block)
    paths.predictions.unlink()


class _Asking:
    """A judge is asked for the verdicts that nobody has."""

    def __init__(
        self, steps: Steps, judge: PairJudge, work: PairWork, paths: JudgedPaths, identity: Mapping[str, Any]
    ) -> None:
        self._steps = steps
        self._judge = judge
        self._work = work
        self._paths = paths
        self._directory = steps.paths.predictions.parent
        self._identity = dict(identity)

    def ask(self, answered: Answered, verdicts: Progress, count: int) -> None:
        """What was judged before is taken over, each other text is sent once, then given to all that say the same."""
        with self._known() as known:
            taken = self._take_over(answered, verdicts, known)
        if taken:
            self._steps.say(f"{self._judge.name}: {counted(taken, 'verdict')} of the same texts taken over")
        done = verdicts.done_count
        if done == count:
            return
        left = count - done
        self._steps.say(f"{self._judge.name}: {counted(left, 'answer')} to be judged")
        costs, name = self._steps.context.costs, self._judge.pair.full_id
        check_begin(costs, self._judge.pair.settings, name, count, left, begun=True)
        self._predict(_FirstOfEach(answered, self._judge, verdicts, self._directory))
        with self._known() as known:
            self._take_over(answered, verdicts, known)
        if verdicts.done_count + verdicts.failed_count < count:  # the same text as one whose verdict failed
            self._predict(_Unseen(answered, verdicts))

    def _predict(self, samples: Iterable[Sample]) -> None:
        """The model that was loaded goes first, with its GPUs. A judge of ours that died is started again."""
        deaths = 0
        while True:
            model, seconds = self._steps.context.models.get(self._judge.pair, self._identity)
            self._steps.watch.load += seconds
            try:
                return predict(self._work, model, samples)
            except ModelDied as error:
                deaths += 1
                if deaths > self._steps.launch.crash_retries:
                    raise
                self._steps.say(f"{self._judge.name}: {error}; loading it again")

    @contextmanager
    def _known(self) -> Iterator[_KnownVerdicts]:
        with ExitStack() as stack:
            paths = self._paths.all_verdicts()
            if self._steps.launch.fresh:  # who wants everything anew gets nothing that is older than the launch
                paths = [path for path in paths if path == self._paths.predictions]
            files = [stack.enter_context(open_file(path)) for path in paths]
            own = files[0] if paths and paths[0] == self._paths.predictions else None
            known = _KnownVerdicts(files, own, self._directory)
            stack.callback(known.close)
            yield known

    def _take_over(self, answered: Answered, verdicts: Progress, known: _KnownVerdicts) -> int:
        """How many verdicts that was."""
        taken = 0
        lines = self._found(answered, verdicts, known)
        while some := list(islice(lines, LINES)):
            verdicts.append(some)
            taken += len(some)
            self._steps.context.check_launcher()
        return taken

    def _found(self, answered: Answered, verdicts: Progress, known: _KnownVerdicts) -> Iterator[Line]:
        for sample in answered:
            if verdicts.is_done(sample.index):
                continue
            try:
                line = known.verdict(self._judge.digest(sample))
            except SampleError:
                continue  # it fails when it is asked
            if line is not None:
                yield line._replace(index=sample.index, id=sample.id)


class _Unseen:
    """Of answers those of which it is not even known that their verdict failed; as often as somebody asks."""

    def __init__(self, answered: Answered, verdicts: Progress) -> None:
        self._answered, self._verdicts = answered, verdicts

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample in self._answered if not self._verdicts.is_seen(sample.index))


class _FirstOfEach:
    """Of answers that are not judged, the first of each text that would be sent; as often as somebody asks."""

    def __init__(self, answered: Answered, judge: PairJudge, verdicts: Progress, directory: Path) -> None:
        self._answered, self._judge, self._verdicts, self._directory = answered, judge, verdicts, directory

    def __iter__(self) -> Iterator[Sample]:
        database = scratch(self._directory)
        try:
            database.execute("CREATE TABLE sent (digest TEXT PRIMARY KEY) WITHOUT ROWID")
            for sample in self._answered:
                if self._verdicts.is_done(sample.index):
                    continue
                try:
                    row = (self._judge.digest(sample),)
                except SampleError:
                    yield sample  # which says why when it is asked
                    continue
                if database.execute("INSERT OR IGNORE INTO sent VALUES (?)", row).rowcount:
                    yield sample
        finally:
            database.close()


class _KnownVerdicts:
    """Lines of verdicts by the digest of what was sent; where they are is kept in a file, not in memory.

    ``files`` are those of the judge itself first: what these lines cost is told there.
    """

    def __init__(self, files: Sequence[BinaryIO], own: BinaryIO | None, directory: Path) -> None:
        self._files = files
        self._own = own
        self._database = scratch(directory)
        columns = "digest TEXT PRIMARY KEY, file INTEGER, place INTEGER, told INTEGER"
        self._database.execute(f"CREATE TABLE lines ({columns}) WITHOUT ROWID")
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?, ?, ?)", self._found())
        self._database.execute("COMMIT")

    def _found(self) -> Iterator[tuple[str, int, int, bool]]:
        for number, file in enumerate(self._files):
            place = 0
            for raw in file:
                if (line := _verdict(raw)) is not None and line.detail is not None:
                    yield line.detail["digest"], number, place, file is self._own
                place += len(raw)

    def verdict(self, digest: str) -> Line | None:
        """The line of a text. What it cost is told once, however many answers say the same."""
        find = "SELECT file, place, told FROM lines WHERE digest = ?"
        found = self._database.execute(find, (digest,)).fetchone()
        if found is None:
            return None
        number, place, told = found
        self._files[number].seek(place)
        line = _verdict(self._files[number].readline())
        if line is None or line.detail is None or not told:
            self._database.execute("UPDATE lines SET told = 1 WHERE digest = ?", (digest,))
            return line
        return line._replace(detail={name: line.detail[name] for name in _OF_A_COPY if name in line.detail})

    def close(self) -> None:
        self._database.close()


def _verdict(raw: bytes) -> Line | None:
    """The verdict in a line; None where the line is damaged, or says that there is none."""
    try:
        fields: Any = parse_line(raw)
        line = Line(**fields)
        known = line.status == "ok" and isinstance(line.detail, dict) and isinstance(line.detail["digest"], str)
    except (ValueError, TypeError, KeyError):
        return None
    return line if known and raw[-1:] == b"\n" else None
