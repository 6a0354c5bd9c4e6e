"""What endpoints told of their answers, added up: tokens, costs, and how the answers ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.costs import CURRENCY, DIGITS, amounts_of, money
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_evalrun.rundir.predictions import Line

TOKENS = ("input", "output", "cached")
# Ends that make an answer another one than the model would have given, and what they mean.
CUT_OFF = {
    "length": "ended at the most tokens that may be answered (raise `max_tokens`)",
    "content_filter": "held back by the endpoint's content filter",
}


class UsageTally:
    """Adds up the ``detail`` of lines; what is no endpoint's tells nothing."""

    def __init__(self) -> None:
        self._requests = self._attempts = 0
        self._tokens = dict.fromkeys(TOKENS, 0)
        self._finish: dict[str, int] = {}
        self._cost: float | None = None

    def add(self, lines: Iterable[Line]) -> None:
        """Take lines into account, of which most models leave no detail at all."""
        for line in lines:
            if line.detail is not None and ("usage" in line.detail or "attempts" in line.detail):
                self._add(line.detail)

    def _add(self, detail: dict[str, Any]) -> None:
        self._requests += _count(detail["turns"]) if "turns" in detail else 1  # an agent is asked turn by turn
        self._attempts += _count(detail.get("attempts", 1))
        told = detail.get("usage")
        if isinstance(told, dict):
            for name in TOKENS:
                self._tokens[name] += _count(told.get(name))
        if isinstance(reason := detail.get("finish_reason"), str):
            self._finish[reason] = self._finish.get(reason, 0) + 1
        if isinstance(cost := detail.get("cost"), int | float) and not isinstance(cost, bool):
            self._cost = (self._cost or 0.0) + cost

    def to_json(self, currency: str | None) -> dict[str, Any] | None:
        """Write it as it stands in a result; None where no endpoint was asked."""
        if not self._requests:
            return None
        told: dict[str, Any] = {"requests": self._requests, "attempts": self._attempts, **self._tokens}
        told["finish"] = dict(sorted(self._finish.items()))
        if self._cost is not None:
            told |= {"cost": round(self._cost, DIGITS), "currency": currency or CURRENCY}
        return told


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def cost_line(usage: dict[str, Any] | None) -> str | None:
    """Say in one line what a pair cost, its judges included; None where no price is known."""
    cost = cost_of(usage)
    if usage is None or cost is None:
        return None
    parts = _parts(usage)
    asked = sum(part["requests"] for part in parts)
    read, written = (sum(part[name] for part in parts) for name in ("input", "output"))
    return f"{cost} ({counted(asked, 'request')}, {read:,} tokens in, {written:,} out)"


def cost_of(usage: dict[str, Any] | None) -> str | None:
    """Write the cost of a pair for people, its judges included; None where no price is known."""
    return " and ".join(money(amount, currency) for currency, amount in amounts_of(usage).items()) or None


def _parts(usage: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [] if usage is None else [part for part in (usage, *usage.get("judge", {}).values()) if "requests" in part]


def cut_off(usage: dict[str, Any] | None) -> list[str]:
    """Say of which answers less came than the model would have given; usually none."""
    if usage is None:
        return []
    finish, requests = usage.get("finish", {}), usage.get("requests", 0)
    return [f"{finish[end]:,} of {requests:,} answers {told}" for end, told in CUT_OFF.items() if finish.get(end)]


def with_judges(usage: dict[str, Any] | None, judges: Mapping[str, dict[str, Any] | None]) -> dict[str, Any] | None:
    """The usage of a pair, and beside it that of its judges by their names."""
    told = {name: paid for name, paid in judges.items() if paid is not None}
    return {**(usage or {}), "judge": told} if told else usage


def tell_usage(usage: dict[str, Any] | None, say: Callable[[str], None]) -> None:
    """Tell the pair's log what its answers cost, and which of them were cut off."""
    if cost := cost_line(usage):
        say(f"cost: {cost}")
    for told in cut_off(usage):
        say(f"warning: {told}")
