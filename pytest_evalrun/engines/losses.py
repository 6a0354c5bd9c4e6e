"""What the end of a job means for the items of its unit that have no report: who is to blame, and what goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_evalrun.engines.exits import CANNOT_BEGIN, GO_ON_LATER
from pytest_evalrun.engines.protocol import Phase
from pytest_evalrun.suite.printable import first_of, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_evalrun.engines.attempts import UnitLife
    from pytest_evalrun.rundir.jobfiles import JobItem

# A unit whose jobs are lost so often in a row, and none of them reported anything, would be for ever.
MOST_IDLE = 20
# Ends of a session by itself: everything was to be reported.
ORDINARY = (0, 1, 5)
# Ends before a session: a usage error of pytest, the script's own refusal, an interpreter that cannot be started.
NEVER_BEGAN = (4, CANNOT_BEGIN, 126, 127)


@dataclass(frozen=True)
class Fate:
    """What becomes of what an attempt has left.

    ``errors`` are items given up, with the reason; each of ``parts`` goes on as a unit, a single one as the same.
    ``deaths`` and ``idle`` are counts that go on with them; ``text`` says what happened.
    """

    text: str
    errors: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[tuple[JobItem, ...], ...] = ()
    deaths: Mapping[str, int] = field(default_factory=dict)
    idle: int = 0


def judge(life: UnitLife, retries: int, split: Callable[[Sequence[JobItem]], Sequence[Sequence[JobItem]]]) -> Fate:
    """Say what becomes of a unit whose job is over while items have no report."""
    phase, left = how(life), tuple(life.left.values())
    if phase is Phase.CANCELLED:
        text = f"{life.name_of_job} was cancelled on the cluster (by an administrator?){_why(life)}"
        return Fate(text, errors=dict.fromkeys(life.left, text))
    if phase in (Phase.PREEMPTED, Phase.LOST):
        return _lost(life, left)
    if phase is Phase.TIME:
        parts = tuple(tuple(part) for part in split(left) if part) if len(groups(left)) > 1 else ()
        if len(parts) > 1:
            return Fate(_told(life), parts=parts, deaths=life.deaths)
        return _charged(life, left, life.left, retries)
    if phase is Phase.MEMORY and life.running:
        return _out_of_memory(life, left)
    return _charged(life, left, life.running or life.left, retries)


def how(life: UnitLife) -> Phase:
    """How a job has really ended: by what the cluster says, and where it has forgotten that, by what the job said.

    ``LOST`` stands for all that goes on without being counted: the job's own wish to go on later, and that it was
    cancelled by an earlier launch.
    """
    phase = life.state.phase
    if life.cancelled and phase in (Phase.CANCELLED, Phase.DONE, Phase.FAILED):
        return Phase.LOST
    if phase is Phase.GONE:
        phase = Phase.LOST if life.code is None else Phase.FAILED
    if phase in (Phase.DONE, Phase.FAILED):
        return Phase.LOST if exit_code(life) == GO_ON_LATER else Phase.FAILED
    return phase


def exit_code(life: UnitLife) -> int | None:
    return life.code if life.code is not None else life.state.code


def may_still_tell(life: UnitLife) -> bool:
    """Whether lines of a job that is over may not be seen yet: on a shared disk they come late.

    Only where it makes a difference: of a job that ended by itself and has not said so, or of which nothing is known.
    """
    if life.code is not None or life.refusal or not life.left:
        return False
    phase, code = life.state.phase, life.state.code
    if phase is Phase.GONE:
        return True
    if phase not in (Phase.DONE, Phase.FAILED):
        return False
    return code in (*ORDINARY, GO_ON_LATER) if life.begun else code not in NEVER_BEGAN


def could_not_begin(life: UnitLife) -> bool:
    """Whether a job ended before it began, for a reason that every other job would meet too."""
    return not life.begun and how(life) in (Phase.FAILED, Phase.TIME, Phase.MEMORY)


def groups(items: Iterable[JobItem]) -> list[tuple[JobItem, ...]]:
    """Put items of one pair together: they are never in two jobs."""
    found: dict[tuple[bool, str], list[JobItem]] = {}
    for item in items:
        found.setdefault((item.pair is None, item.pair or item.id), []).append(item)
    return [tuple(group) for group in found.values()]


def halves(items: Sequence[JobItem]) -> list[tuple[JobItem, ...]]:
    """Cut items into two parts, as many pairs in each."""
    parts = groups(items)
    middle = (len(parts) + 1) // 2
    return [tuple(item for group in half for item in group) for half in (parts[:middle], parts[middle:]) if half]


def _lost(life: UnitLife, left: tuple[JobItem, ...]) -> Fate:
    """Go back without counting: nobody's fault. But not for ever."""
    text, idle = _told(life), life.idle if life.doubted else life.idle + 1
    if idle < MOST_IDLE:
        return Fate(text, parts=(left,), deaths=life.deaths, idle=idle)
    reason = f"{text}; {idle} jobs in a row were lost so without a single report"
    return Fate(text, errors=dict.fromkeys(life.left, reason))


def _out_of_memory(life: UnitLife, left: tuple[JobItem, ...]) -> Fate:
    """Blame the item that was running; where several were, each of them is to show what it needs, alone in a job."""
    text = f"{_told(life)} while it ran {first_of(list(life.running), 3)}"
    suspects = [group for group in groups(left) if any(item.id in life.running for item in group)]
    if len(suspects) > 1:
        others = tuple(item for item in left if all(item not in group for group in suspects))
        return Fate(text, parts=tuple(part for part in (others, *suspects) if part), deaths=life.deaths)
    errors = dict.fromkeys(life.running, text)
    others = tuple(item for item in left if item.id not in errors)
    return Fate(text, errors=errors, parts=(others,) if others else (), deaths=life.deaths)


def _charged(life: UnitLife, left: tuple[JobItem, ...], suspects: Iterable[str], retries: int) -> Fate:
    """Count a death for every suspect; who has died more often than it may is given up, the others go on."""
    text = _told(life) + (f" while it ran {first_of(list(life.running), 3)}" if life.running else "")
    deaths = {**life.deaths, **{name: life.deaths.get(name, 0) + 1 for name in suspects}}
    errors = {name: _after(text, deaths[name]) for name in suspects if deaths[name] > retries}
    rest = tuple(item for item in left if item.id not in errors)
    return Fate(text, errors=errors, parts=(rest,) if rest else (), deaths=deaths)


def _after(text: str, deaths: int) -> str:
    """Say that it was not the first time."""
    return f"{text}, after {deaths - 1} like it" if deaths > 1 else text


def _told(life: UnitLife) -> str:
    """What happened to a job, in a few words, and the cluster's own."""
    phase, code = how(life), exit_code(life)
    place = f" on {life.state.node}" if life.state.node else ""
    if life.refusal:
        return f"{life.name_of_job} refused to begin{place}: {one_line(_joined(life.refusal))}"
    if life.doubted:
        return f"{life.name_of_job} was never heard of by the cluster"
    happened = {
        Phase.PREEMPTED: "was preempted",
        Phase.LOST: "was lost",
        Phase.TIME: "reached its time limit",
        Phase.MEMORY: "was killed for memory",
    }.get(phase, _end(code))
    if code == GO_ON_LATER and phase is Phase.LOST and life.state.phase is not Phase.LOST:
        happened = "was told to go on later"
    if life.cancelled and phase is Phase.LOST:
        happened = "was cancelled by an earlier launch"
    if phase is Phase.FAILED and code in ORDINARY:
        happened += f" and {len(life.left)} of its items have no report"
    return f"{life.name_of_job} {happened}{place}{_why(life)}"


def _end(code: int | None) -> str:
    if code is None:
        return "died"
    # The script of a job ends as shells do, where what it has started is killed.
    number = -code if code < 0 else code - 128 if 128 < code <= 192 else 0
    return f"was killed by signal {number}" if number else f"ended with code {code}"


def _joined(text: str) -> str:
    """Several lines for a terminal as one sentence of several parts."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return "; ".join(lines).replace(":; ", ": ")


def _why(life: UnitLife) -> str:
    return f" ({one_line(life.state.reason)})" if life.state.reason else ""
