"""What messages say: our own words, names and figures; nothing that a model, a program or a server has written.

Why a pair ended in an ERROR may quote any of them: of an error its kind is told, and where to read on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.notify.protocol import Fact, Message, cut
from pytest_evalrun.report.verdict import WORDS
from pytest_evalrun.suite.printable import counted, first_of, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pytest_evalrun.notify.occasions import Stall
    from pytest_evalrun.notify.protocol import Level, Occasion
    from pytest_evalrun.report.verdict import Verdict

    # A label, and the lines under it; without any it is left out.
    Told = tuple[str, Sequence[str]]

MOST_GATES = 5
MOST_PAIRS = 5
MOST_SUITES = 3
LONGEST_TITLE = 200
LEVELS: Mapping[str, Level] = {"passed": "good", "failed": "bad", "error": "bad"}


@dataclass(frozen=True)
class About:
    """The run that messages are about. ``place`` is its directory and the host that it is on; ``link`` may be empty.

    ``safe`` makes any text safe: without secrets.
    """

    suites: Collection[str]
    name: str
    place: str
    link: str
    safe: Callable[[str], str]

    def message(self, occasion: Occasion, level: Level, word: str, facts: Sequence[Told]) -> Message:
        """A message whose title begins with a word; facts that say nothing are left out."""
        which = first_of(sorted(self.suites), MOST_SUITES)
        told = [*facts, ("run", [self.place]), ("link", [self.link] if self.link else [])]
        return Message(
            occasion,
            level,
            cut(self._text(f"{word}: {which} ({self.name})"), LONGEST_TITLE),
            tuple(Fact(label, tuple(map(self._text, lines))) for label, lines in told if lines),
        )

    def _text(self, text: str) -> str:
        return one_line(self.safe(text))


@dataclass(frozen=True)
class RunEnd:
    """How a launch came out. ``verdict`` is None where no summary could be made; ``kinds`` are of errors, by pair.

    ``stopped`` says by whom it was stopped, ``crashed`` that pytest itself failed; ``seconds`` is what it took, and
    ``code`` how pytest ends; ``left`` says how much of the run is left, ``outcomes`` what became of the launch's items.
    """

    verdict: Verdict | None
    stopped: str | None
    crashed: bool
    seconds: float
    code: int
    costs: Sequence[str]
    left: str
    outcomes: Mapping[str, int]
    carry_on: str
    kinds: Mapping[str, str]


def started(about: About, count: int) -> Message:
    """The run begins."""
    return about.message("start", "info", "started", [("to do", [counted(count, "item")])])


def first_error(about: About, pair: str, kind: str, done: int, total: int) -> Message:
    """The first ERROR of its kind; the other pairs go on."""
    return about.message(
        "error",
        "warning",
        "ERROR",
        [
            ("pair", [pair]),
            ("trouble", [f"{kind}, the first of its kind in this launch"]),
            ("why", [f"evalrun logs {pair}"]),
            ("so far", [f"{done} of {counted(total, 'item')} over; the others go on"]),
        ],
    )


def stalled(about: About, stall: Stall, done: int, total: int) -> Message:
    """Nothing has finished for too long."""
    running = [f"{name}, for {in_words(seconds)}" for name, seconds in stall.running.items()]
    more = [f"and {len(running) - MOST_PAIRS} more"] if len(running) > MOST_PAIRS else []
    return about.message(
        "stall",
        "warning",
        f"nothing has finished for {in_words(stall.seconds)}",
        [
            ("running", [*running[:MOST_PAIRS], *more]),
            ("so far", [f"{done} of {counted(total, 'item')} over"]),
            ("look", ["evalrun monitor"]),
        ],
    )


def ended(about: About, end: RunEnd) -> Message:
    """The run is over, or was stopped: how it came out, and how it is carried on where something is left."""
    verdict = end.verdict
    good = verdict is not None and verdict.good and end.stopped is None and end.code == 0
    facts = [
        ("stopped by", [f"{end.stopped}; {end.left}"] if end.stopped else []),
        ("trouble", ["pytest itself failed; its output says why"] if end.crashed else []),
        ("verdict", [verdict.line if verdict is not None else "no summary could be made"]),
        *([_gates(verdict), _undecided(verdict), _troubles(verdict, end.kinds)] if verdict is not None else []),
        ("this launch", [_launch(end)]),
        ("cost", end.costs),
        ("carry on with", [] if good else [end.carry_on]),
    ]
    return about.message("end", _level(end), _word(end), facts)


def _launch(end: RunEnd) -> str:
    """``3 items: 1 failed, 2 passed; 7 min; exit code 1``: the verdict is of the whole run."""
    counts = ", ".join(f"{end.outcomes[word]} {word}" for word in WORDS if end.outcomes.get(word))
    items = counted(sum(end.outcomes.values()), "item")
    return f"{items}{': ' if counts else ''}{counts}; {in_words(end.seconds)}; exit code {end.code}"


def _level(end: RunEnd) -> Level:
    if end.crashed:
        return "bad"
    if end.stopped is not None or end.verdict is None:
        return "warning"
    level = LEVELS.get(end.verdict.word, "warning")
    return "warning" if level == "good" and end.code else level


def _word(end: RunEnd) -> str:
    if end.crashed:
        return "CRASHED"
    if end.stopped is not None:
        return "INTERRUPTED"
    return end.verdict.word.upper() if end.verdict is not None else "ENDED"


def _gates(verdict: Verdict) -> Told:
    worst = [f"{breach.pair}: {breach.text}" for breach in verdict.breaches[:MOST_GATES]]
    count = len(verdict.breaches)
    return ("worst gates" if count <= MOST_GATES else f"worst {MOST_GATES} of {count} gates"), worst


def _undecided(verdict: Verdict) -> Told:
    """How many there are: which, the summary says, and why."""
    count = len(verdict.undecided)
    return "undecided", [f"{counted(count, 'gate')}: too few samples to tell; ? in the summary"] if count else []


def _troubles(verdict: Verdict, kinds: Mapping[str, str]) -> Told:
    pairs = [trouble.pair for trouble in verdict.troubles]
    told = [f"{pair}: {kinds[pair]}" if pair in kinds else pair for pair in pairs[:MOST_PAIRS]]
    more = [f"and {len(pairs) - MOST_PAIRS} more"] if len(pairs) > MOST_PAIRS else []
    return "in ERROR", [*told, *more]


def in_words(seconds: float) -> str:
    """``42 s``, ``7 min``, ``3 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
