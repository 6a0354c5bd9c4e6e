"""How many at once: what may be written, the laws of the adaptive limit, and what it costs at an endpoint with a limit
of its own."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.llm.limiter import BURST_SECONDS, COOLDOWN_SECONDS, Concurrency, Limiter

LIMITS = Concurrency(10, 20, 100)


@pytest.mark.parametrize(
    ("words", "limits"),
    [(20, (20, 20, 20)), ("21", (21, 21, 21)), ("10-20-100", (10, 20, 100)), (" 1 - 1 - 2 ", (1, 1, 2))],
)
def test_limits_are_a_number_or_three(words, limits):
    """A number is fixed; three say from where to where, and where it starts."""
    parsed = Concurrency.parse(words)
    assert (parsed.least, parsed.start, parsed.most) == limits
    assert parsed.fixed == (len(set(limits)) == 1)


@pytest.mark.parametrize(
    "words", [0, "00", -1, "-2", True, "ten", "", "10-20", "20-10-100", "10-200-100", "0-1-2", 1.5]
)
def test_limits_that_are_none_are_refused(words):
    """What is no limit is named, with what is accepted."""
    with pytest.raises(ConfigError, match=r"(?s)concurrency: found .*accepted: .*10-20-100"):
        Concurrency.parse(words)


def test_of_two_limits_the_smallest_count():
    """Nobody gets more than everybody allows, and none is forced to use more than it asked for."""
    assert Concurrency.parse(20).together(LIMITS) == Concurrency(10, 20, 20)
    assert Concurrency.parse(5).together(LIMITS) == Concurrency(5, 5, 5)


def test_slow_start_doubles_each_round():
    """Before the first refusal each round of clean answers doubles the limit, up to the most."""
    limiter = Limiter(20)
    assert [full_round(limiter, now=1.0) for _ in range(4)] == [40, 80, 100, 100]


def test_after_a_cut_it_grows_by_a_twentieth():
    """Once it was cut, a round adds 5 %, one at least."""
    limiter = Limiter(100, clean=100)
    limiter.limited(LIMITS, 0.0, 99)
    grown = [full_round(limiter, now=COOLDOWN_SECONDS) for _ in range(3)]
    assert grown == [84, 88, 92]
    small = Limiter(5, slow_start=False)
    assert full_round(small, now=1.0, limits=Concurrency(1, 5, 100)) == 6


@pytest.mark.parametrize(("limit", "cut"), [(100, 80), (20, 16), (12, 10), (10, 10)])
def test_cut_is_a_fifth_and_never_below_the_least(limit, cut):
    """A rate limit costs a fifth of the limit, down to the least."""
    limiter = Limiter(limit, clean=limit)
    limiter.limited(LIMITS, 5.0, limit - 1)
    assert limiter.limit == cut


@pytest.mark.parametrize(("after", "seconds"), [(None, COOLDOWN_SECONDS), (3.0, COOLDOWN_SECONDS), (60.0, 60.0)])
def test_an_episode_costs_one_cut(after, seconds):
    """However many are refused in 15 seconds, or as long as the endpoint asks to wait, it is cut once."""
    limiter = Limiter(100, clean=100)
    limiter.limited(LIMITS, 0.0, 99, after)
    for moment in (BURST_SECONDS, 10.0, seconds - 0.1):
        assert limiter.limited(LIMITS, moment, 70) is None
    assert limiter.limited(LIMITS, seconds, 70)
    assert limiter.limit == 64


def test_answers_in_cooldown_are_discarded():
    """What is answered before the cooldown ends is no part of a round."""
    limiter = Limiter(20, clean=20)
    limiter.limited(LIMITS, 0.0, 19)
    assert limiter.succeeded(LIMITS, COOLDOWN_SECONDS - 0.1, 16, 1000) is None
    assert limiter.succeeded(LIMITS, COOLDOWN_SECONDS, 16, 15) is None
    assert limiter.succeeded(LIMITS, COOLDOWN_SECONDS, 16, 1)


def test_round_that_did_not_use_the_limit_does_not_raise_it():
    """With fewer than four fifths in flight nobody knows whether more would have been taken."""
    limiter = Limiter(20)
    assert full_round(limiter, now=1.0, peak=15) == 20
    assert full_round(limiter, now=1.0, peak=16) == 40


def test_trouble_begins_the_round_anew():
    """A server error or a time-out cuts nothing, and the answers before it count no more."""
    limiter = Limiter(20)
    limiter.succeeded(LIMITS, 1.0, 20, 19)
    limiter.troubled()
    assert limiter.succeeded(LIMITS, 1.0, 20, 19) is None
    assert limiter.limit == 20


def test_step_that_was_too_many_is_tried_less_and_less():
    """After each time that a step was taken back, twice as many rounds must be clean before the next try."""
    limiter = Limiter(20, slow_start=False)
    rounds, now = [], 0.0
    for _ in range(6):
        now += COOLDOWN_SECONDS
        rounds.append(1)
        while full_round(limiter, now=now) == 20:
            rounds[-1] += 1
        limiter.limited(LIMITS, now, 20)
    assert rounds == [1, 2, 4, 8, 16, 16]


def test_round_is_of_requests_that_were_sent_under_its_limit():
    """When the limit grew to 40, 20 requests were in flight: their answers are no part of the next round."""
    limiter = Limiter(20)
    assert full_round(limiter, now=1.0) == 40
    limiter.succeeded(LIMITS, 1.0, 40, 20 + 39)
    assert limiter.limit == 40
    limiter.succeeded(LIMITS, 1.0, 40, 1)
    assert limiter.limit == 80


def test_wave_is_counted_in_two_ways():
    """Answers that come during a wave leave fewer in flight, and take nothing from what the endpoint allows."""
    limiter = Limiter(40)
    for left in range(39, -1, -2):
        limiter.limited(LIMITS, 2.0, left)
    assert limiter.limit == 20


def test_refusals_of_one_wave_teach_how_many_are_taken():
    """Of 40 that were sent at once 20 are refused: the limit is the 20 that were not, after that one wave."""
    limiter = Limiter(40)
    for left in range(39, 19, -1):
        limiter.limited(LIMITS, 0.01, left)
    assert limiter.limit == 20


def test_one_step_too_many_is_taken_back():
    """What lasted a whole round is known to be taken: only a refusal of that costs a fifth."""
    limiter = Limiter(20, slow_start=False)
    assert full_round(limiter, now=1.0) == 21
    limiter.limited(LIMITS, 2.0, 20)
    assert limiter.limit == 20
    limiter.limited(LIMITS, 2.0 + BURST_SECONDS, 19)
    assert limiter.limit == 16


EVENTS = st.one_of(
    st.tuples(st.just("succeeded"), st.integers(0, 120), st.integers(1, 50)),
    st.tuples(st.just("limited"), st.integers(0, 120), st.sampled_from([None, 0.5, 40.0])),
    st.tuples(st.just("troubled")),
    st.tuples(st.just("bound")),
)


@given(st.data())
def test_laws(data):
    """It stays between least and most, grows by clean answers alone, and tells each change with both numbers."""
    limits = Concurrency(*sorted(data.draw(st.tuples(*[st.integers(1, 120)] * 3))))
    limiter = Limiter(limits.start)
    now = 0.0
    for event, *facts in data.draw(st.lists(EVENTS, max_size=60)):
        now += data.draw(st.sampled_from([0.0, 0.1, 3.0, 20.0]))
        was = limiter.limit
        if event == "succeeded":
            change = limiter.succeeded(limits, now, *facts)
        elif event == "limited":
            change = limiter.limited(limits, now, *facts)
        else:
            change = limiter.bound(limits) if event == "bound" else limiter.troubled()
        assert limits.least <= limiter.limit <= limits.most
        assert limiter.limit <= was or event == "succeeded"
        assert limiter.limit >= was or event == "limited"
        assert (change is not None) == (limiter.limit != was)
        if change:
            assert (change.was, change.limit, bool(change.reason)) == (was, limiter.limit, True)


@pytest.mark.parametrize("ceiling", [12, 20, 33, 50, 100, 500])
@pytest.mark.parametrize(("seconds", "retry"), [(0.05, 0.5), (2.0, 10.0), (30.0, 10.0)])
def test_endpoint_that_allows_so_many_at_once(ceiling, seconds, retry):
    """At most one in twenty of 2,000 requests is refused, and they take 1.3 times what they would with a limit that
    is known."""
    adaptive = ask(Limiter(LIMITS.start), 2000, ceiling, seconds, retry)
    known = ask(Limiter(min(ceiling, LIMITS.most)), 2000, ceiling, seconds, retry, Concurrency.parse(min(ceiling, 100)))
    assert known.refused == 0
    assert adaptive.refused <= 100
    assert adaptive.seconds <= 1.3 * known.seconds


def full_round(limiter: Limiter, *, now: float, peak: int | None = None, limits: Concurrency = LIMITS) -> int:
    """So many clean answers as a round has, after those to what was sent before it; the limit then."""
    for _ in range(max(limiter.limit, 4) - min(0, limiter.answered)):
        limiter.succeeded(limits, now, limiter.limit if peak is None else peak)
    return limiter.limit


@dataclass
class Asked:
    """What it took to have all answers."""

    seconds: float = 0.0
    refused: int = 0
    # When a request ends, or is to be asked again.
    ends: list[tuple[float, int, str]] = field(default_factory=list)


def ask(
    limiter: Limiter, count: int, ceiling: int, seconds: float, retry: float, limits: Concurrency = LIMITS
) -> Asked:
    """Requests of so many seconds, each a little different, against an endpoint that takes ``ceiling`` at once.

    It refuses after a millisecond, and who was refused asks again ``retry`` seconds later.
    """
    asked = Asked()
    now, number, waiting, in_flight, taken = 0.0, 0, count, 0, 0
    retried = 0
    while waiting or asked.ends:
        while waiting and in_flight < limiter.limit:
            waiting, in_flight, number = waiting - 1, in_flight + 1, number + 1
            if taken < ceiling:
                taken += 1
                heapq.heappush(asked.ends, (now + seconds * (0.9 + 0.2 * (number * 0.618 % 1)), number, "answered"))
            else:
                heapq.heappush(asked.ends, (now + 0.001, number, "refused"))
        now, _, what = heapq.heappop(asked.ends)
        if what == "again":
            waiting, retried = waiting + 1, retried + 1
            continue
        in_flight -= 1
        if what == "answered":
            taken -= 1
            if retried:  # one that was refused before tells nothing
                retried -= 1
            else:
                limiter.succeeded(limits, now, in_flight + 1)
        else:
            asked.refused += 1
            limiter.limited(limits, now, in_flight, retry)
            heapq.heappush(asked.ends, (now + retry, number + 10**6, "again"))
    asked.seconds = now
    return asked
