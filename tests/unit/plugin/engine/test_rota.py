"""Of many jobs some are looked at each time, and each of them soon."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.plugin.engine.rota import AT_A_TIME, TURNS, Rota


@given(st.integers(0, 300), st.integers(0, 20))
def test_each_has_its_turn(count: int, before: int) -> None:
    """Whenever it begins, each is looked at within a few times, and few of them each time."""
    rota, everyone = Rota(), list(range(count))
    for _ in range(before):
        rota.take(everyone)
    turns = [rota.take(everyone) for _ in range(TURNS + 1)]
    assert {one for turn in turns for one in turn} == set(everyone)
    assert max(map(len, turns)) <= max(AT_A_TIME, count // TURNS + 1)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_whoever_comes_and_goes(counts: list[int]) -> None:
    """While others come and go something is looked at every time, and afterwards all of them are."""
    rota = Rota()
    assert all(rota.take(range(count)) for count in counts)
    left = range(counts[-1])
    assert {one for _ in range(TURNS + 1) for one in rota.take(left)} == set(left)
