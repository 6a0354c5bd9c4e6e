"""``costs/<worker>.jsonl``: what answers of endpoints cost in this run, in whichever launch, and what that stopped.

Each worker appends to its own file as answers come, so that a crash forgets nothing that was paid, and follows those of
the others. What is taken over or reused costs nothing again and has no line.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import Follower, LineFile, json_line, open_file
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# How often a worker looks what the others have spent.
LOOK_SECONDS = 0.25
# Of a unit of money: one token of the cheapest models costs 1e-8.
DIGITS = 12
CURRENCY = "USD"


def money(amount: float, currency: str) -> str:
    """Write an amount for people: four digits that count, and never an exponent."""
    text = f"{amount:,.2f}" if amount >= 100 else f"{amount:.{max(2, 4 - _magnitude(amount))}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text and amount < 100 else text} {currency}"


def _magnitude(amount: float) -> int:
    """Count the digits before the point, or negative the zeros behind it."""
    return int(f"{amount:e}".partition("e")[2]) + 1 if amount > 0 else 1


def amounts_of(usage: Mapping[str, Any] | None) -> dict[str, float]:
    """What the answers to a pair cost by currency, its judges included, as its result's ``usage`` has it."""
    judges = (usage or {}).get("judge")
    spent = Spent()
    for part in (usage, *(judges.values() if isinstance(judges, dict) else ())):
        if isinstance(part, dict):
            _add(part, spent)
    return {currency: spent.of(currency) for currency in spent.amounts}


@dataclass
class Spent:
    """What was spent, by currency, over how many requests."""

    amounts: dict[str, float] = field(default_factory=dict)
    requests: int = 0

    def add(self, amount: float, currency: str) -> None:
        self.amounts[currency] = self.amounts.get(currency, 0.0) + amount
        self.requests += 1

    def of(self, currency: str) -> float:
        return round(self.amounts.get(currency, 0.0), DIGITS)


@dataclass(frozen=True)
class Stopped:
    """A pair that was ended, or not begun, because the money was spent: ``left`` of its ``samples`` are to be asked."""

    pair: str
    left: int
    samples: int
    in_flight: int


class CostLedger:
    """One worker's: what it spends, and what was spent in all.

    ``limit`` is the most that the run may cost; None for no limit. Threads of clients write to it.
    """

    def __init__(self, directory: Path, worker: str, launch: str = "", limit: float | None = None) -> None:
        self.limit = limit
        self._directory = directory
        self._launch = launch
        self._own = directory / f"{worker}.jsonl"
        self._file = LineFile(self._own)
        self._lock = threading.Lock()
        self._spent: Spent | None = None
        self._others: dict[Path, Follower] = {}
        self._looked = 0.0

    def paid(self, pair: str, amount: float, currency: str) -> None:
        """Write down what one answer cost."""
        line = json_line({"pair": pair, "cost": amount, "currency": currency})
        with self._lock:
            self._file.write(line)
            if self._spent is not None:
                self._spent.add(amount, currency)

    def spent(self, *, now: bool = False) -> Spent:
        """Tell what was spent in the run so far; of other workers as of a moment ago, or as of ``now``."""
        with self._lock:
            if self._spent is None:
                self._spent = Spent()
                _add_up(_lines(self._own), self._spent)
            if now or time.monotonic() - self._looked >= LOOK_SECONDS:
                self._look(self._spent)
                self._looked = time.monotonic()
            return self._spent

    def is_spent(self, currency: str) -> bool:
        """Whether the limit is reached, so that nothing more may be asked; costs microseconds."""
        return self.limit is not None and self.spent().of(currency) >= self.limit

    def stopped(self, pair: str, left: int, samples: int, in_flight: int = 0) -> None:
        """Write down that a pair was not asked to its end."""
        told = {"stopped": pair, "left": left, "samples": samples, "in_flight": in_flight, "launch": self._launch}
        with self._lock:
            self._file.write(json_line(told))

    def _look(self, spent: Spent) -> None:
        for path in self._directory.glob("*.jsonl") if self._directory.is_dir() else ():
            if path != self._own:
                _add_up(self._others.setdefault(path, Follower(path)).read(), spent)

    def close(self) -> None:
        with self._lock:
            self._file.close()


def read_costs(directory: Path, launch: str) -> tuple[Spent, list[Stopped]]:
    """Read what was spent in a run, and which pairs this ``launch`` ended or did not begin for it."""
    spent = Spent()
    stopped: dict[str, Stopped] = {}
    for path in sorted(directory.glob("*.jsonl")) if directory.is_dir() else ():
        for raw in _lines(path):
            told = _parsed(raw)
            _add(told, spent)
            if told.get("launch") == launch and (end := _stopped(told)) is not None:
                stopped[end.pair] = end
    return spent, [*stopped.values()]


def _stopped(told: dict[str, Any]) -> Stopped | None:
    pair = told.get("stopped")
    counts = [told.get(name) for name in ("left", "samples", "in_flight")]
    if not isinstance(pair, str) or not all(type(count) is int for count in counts):
        return None
    left, samples, in_flight = counts
    return Stopped(pair, left, samples, in_flight)  # type: ignore[arg-type]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open_file(path) as file:
            yield from file
    except OSError:
        return


def _add_up(lines: Iterable[bytes], spent: Spent) -> None:
    for raw in lines:
        _add(_parsed(raw), spent)


def _parsed(raw: bytes) -> dict[str, Any]:
    """One line; nothing of one that a crash has torn."""
    try:
        told = parse_line(raw)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _add(told: dict[str, Any], spent: Spent) -> None:
    cost, currency = told.get("cost"), told.get("currency")
    if isinstance(cost, int | float) and isinstance(currency, str):
        spent.add(float(cost), currency)
