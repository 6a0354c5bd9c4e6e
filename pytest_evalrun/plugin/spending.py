"""What a launch spends at endpoints: one currency, a limit that workers keep, and what people are told of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.plugin.options import usage_errors
from pytest_evalrun.rundir.costs import CURRENCY, money, read_costs
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.plugin.terminal import Terminal
    from pytest_evalrun.rundir.costs import Spent, Stopped
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Pair

# So many pairs are named whose answers were cut off.
MOST_NAMED = 5


class Spending:
    """The launching process's part of it; what is spent is written down by the workers."""

    def __init__(self, terminal: Terminal, limit: float | None) -> None:
        self._terminal = terminal
        self._limit = limit
        self._currency: str | None = None
        self._cut_off: dict[str, list[str]] = {}

    def check(self, pairs: Iterable[Pair]) -> None:
        """Raise a usage error for prices in two currencies: what they add up to nobody knows."""
        found = currencies(pairs)
        with usage_errors():
            if len(found) > 1:
                said = " and ".join(f"{currency} ({layer.source})" for currency, layer in sorted(found.items()))
                raise ConfigError(f"prices in {said}; accepted: one currency a launch, as `price: {{currency: …}}`")
        self._currency = next(iter(found), None)
        if self._limit is not None and self._currency is None:
            self._terminal.line("--eval-max-cost has no effect: no selected model or judge has a `price:`")

    def ended(self, pair: Pair, told: dict[str, Any]) -> None:
        """Note which answers of a pair were cut off, for the end of the session."""
        if (lines := told.get("cut_off")) is not None:
            self._cut_off[pair.full_id] = lines

    def finish(self, session: pytest.Session, paths: RunPaths, launch: str) -> None:
        """Sum up; where pairs were not asked to their end the launch is no success."""
        for name in [*self._cut_off][:MOST_NAMED]:
            self._terminal.remarks += [f"{name}: {line}" for line in self._cut_off[name]]
        if len(self._cut_off) > MOST_NAMED:
            more = counted(len(self._cut_off) - MOST_NAMED, "more pair")
            self._terminal.remarks.append(f"… and answers of {more} were cut off; see their logs")
        if self._currency is None:
            return
        spent, stopped = read_costs(paths.costs, launch)
        self._terminal.remarks += spent_lines(spent, stopped, self._currency, self._limit)
        if stopped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def spent_lines(spent: Spent, stopped: list[Stopped], currency: str, limit: float | None) -> Iterator[str]:
    """``spent 0.0103 USD of 0.01 USD (3 requests were in flight); 1,240 of 2,000 samples are left``."""
    others = [money(amount, other) for other, amount in sorted(spent.amounts.items()) if other != currency]
    total = " and ".join([money(spent.of(currency), currency), *others])
    if limit is not None:
        total += f" of {money(limit, currency)}"
    if not stopped:
        if spent.requests:
            yield f"spent {total} in this run ({counted(spent.requests, 'request')})"
        return
    flying = sum(end.in_flight for end in stopped)
    verb = "was" if flying == 1 else "were"
    left, samples = sum(end.left for end in stopped), sum(end.samples for end in stopped)
    yield (
        f"spent {total} ({counted(flying, 'request')} {verb} in flight); {left:,} of {samples:,} samples of "
        f"{counted(len(stopped), 'pair')} are left; the same command with a higher --eval-max-cost carries on"
    )


def currencies(pairs: Iterable[Pair]) -> dict[str, Layer]:
    """Each currency that prices of these pairs are in, with a layer that says so; each layer is looked at once."""
    layers = {id(layer): layer for pair in pairs if pair.skip is None for layer in pair.layers}
    found: dict[str, Layer] = {}
    for layer in layers.values():
        for price in _prices(layer.values):
            if "input" in price or "output" in price:
                found.setdefault(str(price.get("currency", CURRENCY)), layer)
    return found


def _prices(values: Any) -> Iterator[dict[str, Any]]:
    """The price of a model, and those of judges."""
    if isinstance(price := values.get("price"), dict):
        yield price
    for item in values.get("metrics", ()):
        params = item.get("judge") if isinstance(item, dict) else None
        model = params.get("model") if isinstance(params, dict) else None
        if isinstance(model, dict) and isinstance(price := model.get("price"), dict):
            yield price
