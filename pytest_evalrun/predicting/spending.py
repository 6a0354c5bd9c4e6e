"""What asking an endpoint costs is written down as its answers come, and asking ends where the money is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.errors import Lacking, PairError
from pytest_evalrun.llm.settings import EndpointSettings
from pytest_evalrun.predicting.session import Again
from pytest_evalrun.rundir.costs import CURRENCY, money
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.session import Answers, Session
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.rundir.costs import CostLedger
    from pytest_evalrun.suite.settings import Settings


def currency_of(settings: Settings) -> str | None:
    """In which currency the prices of a pair's model are; None where it has no price."""
    own = settings.own
    priced = isinstance(own, EndpointSettings) and ("input" in own.price or "output" in own.price)
    return str(own.price.get("currency", CURRENCY)) if priced else None


def within_costs(work: PairWork, session: Session) -> Session:
    """The same session where the model has no price; else one that counts, and ends at the limit."""
    currency = currency_of(work.settings)
    return session if currency is None else PricedSession(work, session, currency)


def check_begin(costs: CostLedger, settings: Settings, pair: str, count: int, left: int, *, begun: bool) -> None:
    """Before a model is loaded: with the money spent a pair is not begun (Lacking), or not carried on (PairError)."""
    currency = currency_of(settings)
    if currency is None or not costs.is_spent(currency):
        return
    costs.stopped(pair, left, count)
    told = _told(costs, currency, left, count)
    raise PairError(told) if begun else Lacking(f"not begun: {told}")


class PricedSession:
    """An endpoint's session whose answers cost something."""

    def __init__(self, work: PairWork, session: Session, currency: str) -> None:
        self._work = work
        self._session = session
        self._currency = currency
        self._costs = work.context.costs
        self._under_way: set[Future[Answers | Again]] = set()
        # So many requests were in flight when the limit was first seen to be reached.
        self._at_limit: int | None = None
        self.batch_size = session.batch_size

    @property
    def in_flight(self) -> int:
        """At the limit what is under way is paid for, and waited for."""
        return int(not self._under_way) if self._is_spent() else self._session.in_flight

    def submit(self, batch: Sequence[Sample]) -> Future[Answers | Again]:
        """Raises PairError where the money is spent."""
        if self._is_spent():
            raise self._stop()
        future = self._session.submit(batch)
        self._under_way.add(future)
        future.add_done_callback(self._answered)
        return future

    def _answered(self, future: Future[Answers | Again]) -> None:
        """In whichever thread: what was answered is paid for, whatever becomes of it."""
        self._under_way.discard(future)
        if future.cancelled() or future.exception() is not None:
            return
        answers = future.result()
        for answer in [] if isinstance(answers, Again) else answers.predictions:
            cost = _cost(answer)
            if cost:
                self._costs.paid(self._work.pair.full_id, cost, self._currency)

    def _is_spent(self) -> bool:
        if self._at_limit is None and self._costs.is_spent(self._currency):
            self._at_limit = len(self._under_way)
        return self._at_limit is not None

    def _stop(self) -> PairError:
        progress, count = self._work.progress, self._work.count
        left = count - progress.done_count - progress.failed_count
        self._costs.stopped(self._work.pair.full_id, left, count, self._at_limit or 0)
        return PairError(_told(self._costs, self._currency, left, count))

    def close(self, *, at_once: bool = False) -> None:
        self._session.close(at_once=at_once)


def _cost(answer: Any) -> float | None:
    cost = answer.detail.get("cost") if isinstance(answer, Detailed) else None
    return float(cost) if isinstance(cost, int | float) else None


def _told(costs: CostLedger, currency: str, left: int, count: int) -> str:
    assert costs.limit is not None, "without a limit nothing is spent"
    spent, limit = costs.spent(now=True).of(currency), money(costs.limit, currency)
    return (
        f"spent {money(spent, currency)} of {limit} (--eval-max-cost): {left:,} of {counted(count, 'sample')} "
        "are left; the same command with more carries on"
    )
