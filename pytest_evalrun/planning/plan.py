"""The plan of a dry run as text: one line a pair, in the order in which the pairs would start."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.planning.costs import LEAST, SCORING, work_of
from pytest_evalrun.planning.forecast import Forecast, Start, forecast
from pytest_evalrun.planning.work import Work
from pytest_evalrun.slots.need import Need
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.planning.costs import Estimate
    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.suite.pairs import Pair

# What has something to do, and what it is called.
RUNS = {"run": "run", "resume": "run", "score": "score"}
SOURCES = {"history": "from history for", "samples": "from samples for", "size": "guessed by size for"}
WIDEST = 48


class PlannedPair(Protocol):
    """What would be done with a pair, why, and how many samples it had when last evaluated."""

    @property
    def pair(self) -> Pair: ...
    @property
    def action(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def size(self) -> int | None: ...


def plan_lines(
    verdicts: Sequence[PlannedPair],
    expected: Mapping[str, Estimate],
    needs: Mapping[str, Need],
    workers: int,
    pool: Pool,
    commands: Mapping[str, str] | None = None,
) -> list[str]:
    """What starts when and where, then what has nothing to do, then what it all comes to.

    ``expected`` by the full id of whole pairs that have something to do, ``needs`` by that of what needs it; ``pool``
    is used up.
    ``commands`` are of programs, by full id; each stands below its pair.
    0 workers are pytest's own process, which keeps pytest's order.
    """
    works = _works(verdicts, expected, needs)
    played = forecast(works, workers, pool, after=_after(verdicts, works)) if workers else _in_order(works)
    starts = sorted(played.starts, key=lambda start: (start.moment, start.worker))
    waiting = {start.work.place for start in starts}
    rest = [verdict for place, verdict in enumerate(verdicts) if place not in waiting]
    table = _Table(verdicts, commands or {}, "gw{}" if workers else "main", gpus=any(work.need.gpus for work in works))
    lines = [line for start in starts for line in table.rows(verdicts[start.work.place], start, expected)]
    lines_of_rest = [line for verdict in rest for line in table.idle(verdict)]
    total = _total(played, verdicts, expected)
    never = len(works) - len(starts)
    lost = f"; {never} can never start: too few GPUs of that size" if never else ""
    return [
        *table.head(lines),
        *lines,
        *lines_of_rest,
        f"{_hosts(workers, pool, works)}: {total}{lost}{_uncounted(verdicts)}",
    ]


def _works(verdicts: Sequence[PlannedPair], expected: Mapping[str, Estimate], needs: Mapping[str, Need]) -> list[Work]:
    """As the scheduler would make them, of the pairs that are not reused; to be scored again needs no model."""
    works = []
    for place, (pair, action) in enumerate((verdict.pair, verdict.action) for verdict in verdicts):
        if action == "score":
            seconds = expected[pair.whole.full_id].seconds
            works.append(Work(place, f"score {pair.full_id}", max(LEAST, seconds * SCORING)))
        elif action in RUNS:
            works.append(work_of(place, pair, expected[pair.whole.full_id], needs.get(pair.full_id, Need())))
    return works


def _after(verdicts: Sequence[PlannedPair], works: Sequence[Work]) -> dict[int, list[int]]:
    """A pair that is cut starts when its shards have ended: those that run at all, and where it runs itself."""
    shards: dict[str, list[int]] = {}
    wholes: dict[str, int] = {}
    for work in works:
        pair = verdicts[work.place].pair
        if pair.is_shard:
            shards.setdefault(pair.whole.full_id, []).append(work.place)
        else:
            wholes[pair.full_id] = work.place
    return {place: shards[name] for name, place in wholes.items() if name in shards}


def _in_order(works: Sequence[Work]) -> Forecast:
    """One process that does one after the other."""
    starts, now, model = [], 0.0, ""
    for work in works:
        starts.append(Start(work, 0, now, work.model != model))
        now += (work.model != model) * work.load + work.seconds
        model = work.model
    return Forecast(tuple(starts), now)


class _Table:
    """Columns as wide as they must be; the reason stands last, because nobody knows how long it is."""

    def __init__(
        self, verdicts: Sequence[PlannedPair], commands: Mapping[str, str], process: str, *, gpus: bool
    ) -> None:
        self.commands = commands
        self.process = process
        self.gpus = gpus
        self.width = min(WIDEST, max((len(verdict.pair.full_id) for verdict in verdicts), default=0))

    def head(self, lines: Sequence[str]) -> list[str]:
        return [self._columns("what", "pair", "starts", "on", "takes", "load", "GPUs") + "  why"] if lines else []

    def rows(self, verdict: PlannedPair, start: Start, expected: Mapping[str, Estimate]) -> list[str]:
        guessed = "" if expected[verdict.pair.whole.full_id].source == "history" else "~"
        load = duration(start.work.load) if _loads(start, verdict) else "-"
        columns = (clock(start.moment), self.process.format(start.worker), guessed + duration(start.work.seconds), load)
        gpus = str(start.work.need.gpus or "-")
        row = f"{self._columns(RUNS[verdict.action], verdict.pair.full_id, *columns, gpus)}  {_why(verdict)}"
        return [row, *self._command(verdict)]

    def idle(self, verdict: PlannedPair) -> list[str]:
        action = RUNS.get(verdict.action, verdict.action)
        return [f"{action:5}  {verdict.pair.full_id:{self.width}}  {_why(verdict)}", *self._command(verdict)]

    def _command(self, verdict: PlannedPair) -> list[str]:
        command = self.commands.get(verdict.pair.full_id)
        return [] if command is None else [f"       $ {command}"]

    def _columns(self, action: str, name: str, starts: str, worker: str, takes: str, load: str, gpus: str) -> str:
        slots = f"  {gpus:>4}" if self.gpus else ""
        return f"{action:5}  {name:{self.width}}  {starts:>7}  {worker:4}  {takes:>8}  {load:>7}{slots}"


def _why(verdict: PlannedPair) -> str:
    size = f"{counted(verdict.size, 'sample')}  " if verdict.size is not None else ""
    return f"{size}({verdict.reason})"


def _uncounted(verdicts: Sequence[PlannedPair]) -> str:
    """A plan reads no data: what was never run, and is not cut, has said no size yet."""
    count = sum(verdict.size is None and verdict.action in RUNS for verdict in verdicts)
    return f"; samples of {counted(count, 'pair')} not counted yet" if count else ""


def _loads(start: Start, verdict: PlannedPair) -> bool:
    """Scoring needs no model; a pair that is cut does nothing else."""
    return start.loads and verdict.action != "score" and not verdict.pair.is_cut


# ------------------------------------------------------------------ what it comes to


def _total(played: Forecast, verdicts: Sequence[PlannedPair], expected: Mapping[str, Estimate]) -> str:
    starts = [(start, verdicts[start.work.place]) for start in played.starts]
    if not starts:
        return "no pair would be run"
    loads = sum(_loads(start, verdict) for start, verdict in starts)
    longest = max(start.work.seconds for start, _ in starts)
    counts = Counter(expected[verdict.pair.whole.full_id].source for _, verdict in starts)
    told = ", ".join(f"{words} {counts[source]}" for source, words in SOURCES.items() if counts[source])
    return (
        f"{counted(len(starts), 'pair')}, {counted(loads, 'model load')}, about {duration(played.makespan)}"
        f" (longest pair {duration(longest)})" + (f"; seconds {told}" if told else "")
    )


def _hosts(workers: int, pool: Pool, works: Sequence[Work]) -> str:
    told = [counted(workers, "worker") if workers else "one process, in pytest's order"]
    if on_gpus := [work.need for work in works if work.need.gpus]:
        slots = len(pool.memories) * max(need.per_gpu for need in on_gpus)
        told.append(f"{counted(len(pool.memories), 'GPU')} ({counted(slots, 'slot')})")
    if any(work.need.devices for work in works):
        told.append(f"{counted(len(pool.devices), 'board')} ({counted(sum(pool.devices.values()), 'slot')})")
    return ", ".join(told)


def clock(seconds: float) -> str:
    """A moment of the run: ``0:45``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def duration(seconds: float) -> str:
    """As exactly as an expectation deserves: ``0.4 s``, ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
