"""Units have every item once, keep pairs and models together, and are as long as they may be, or as many as run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning.units import JOB_SECONDS, UnitItem, UnitPlan, cut_units, split_unit

CLASSES = ["cpu", "one gpu", ("four gpus", 80)]
SLACK = 1e-6


@st.composite
def items(draw):
    """Models of several resource classes; some items share a pair, some have none."""
    models = draw(st.lists(st.tuples(st.sampled_from(CLASSES), st.floats(0, 200)), min_size=1, max_size=6))
    found = []
    for place, model in enumerate(draw(st.lists(st.integers(0, len(models) - 1), max_size=40))):
        cls, load = models[model]
        pair = draw(st.one_of(st.none(), st.integers(0, 5).map(lambda data, model=model: f"m{model}/d{data}")))
        seconds = draw(st.one_of(st.just(0.0), st.floats(0, 2000)))
        found.append(UnitItem(f"i{place}", pair, f"m{model}", seconds, load, cls))
    return found


minutes = st.floats(0.01, 60)
at_once = st.integers(1, 20)


def places(found, name):
    """In how many units each value of an attribute is."""
    seen: dict[object, set[int]] = {}
    for number, unit in enumerate(found):
        for item in unit.items:
            seen.setdefault(getattr(item, name), set()).add(number)
    seen.pop(None, None)
    return {value: len(numbers) for value, numbers in seen.items()}


def length(found):
    """Seconds of items, each model's load once."""
    loads = {(item.cls, item.model): item.load for item in found}
    return sum(item.seconds for item in found) + sum(loads.values())


def pairs_in(unit):
    return len({item.pair or item.id for item in unit.items})


@given(items(), minutes, at_once)
def test_every_item_is_in_one_unit_of_its_class(found, minutes, at_once):
    """No unit is empty, each says how long it takes, and the longest comes first."""
    units = cut_units(found, minutes=minutes, at_once=at_once)
    assert sorted(item.id for unit in units for item in unit.items) == sorted(item.id for item in found)
    for unit in units:
        assert {item.cls for item in unit.items} == {unit.cls}
        assert abs(unit.seconds - length(unit.items)) < SLACK * (1 + unit.seconds)
    lengths = [unit.seconds for unit in units]
    assert lengths == sorted(lengths, reverse=True)


@given(items(), minutes, at_once)
def test_a_pair_is_in_one_unit_and_a_model_too_where_it_fits(found, minutes, at_once):
    """A model that fits is cut only where all jobs run at once, so that none is idle."""
    units = cut_units(found, minutes=minutes, at_once=at_once)
    assert set(places(units, "pair").values()) <= {1}
    for model, count in places(units, "model").items():
        short = length([item for item in found if item.model == model]) <= minutes * 60 - SLACK
        assert count == 1 or not short or len(units) <= at_once


@given(items(), minutes)
def test_with_one_job_at_a_time_no_model_that_fits_is_cut(found, minutes):
    """Its load would be paid twice for nothing."""
    units = cut_units(found, minutes=minutes, at_once=1)
    fits = {m for m in places(units, "model") if length([i for i in found if i.model == m]) <= minutes * 60 - SLACK}
    assert all(count == 1 for model, count in places(units, "model").items() if model in fits)


@given(items(), minutes, at_once)
def test_only_what_is_one_pair_takes_longer_than_it_may(found, minutes, at_once):
    """Its load counts too: that is what a job takes."""
    for unit in cut_units(found, minutes=minutes, at_once=at_once):
        assert unit.seconds <= minutes * 60 * (1 + SLACK) + SLACK or pairs_in(unit) == 1


@given(items(), minutes, at_once)
def test_more_units_than_must_be_end_the_launch_earlier(found, minutes, at_once):
    """By more than a job takes for itself; and never are there more of them than may run at once."""
    least = cut_units(found, minutes=minutes, at_once=1)
    units = cut_units(found, minutes=minutes, at_once=at_once)
    if units != least:
        assert len(units) <= at_once
        assert units[0].seconds + JOB_SECONDS < least[0].seconds


@given(items(), minutes, at_once)
def test_the_same_items_are_cut_alike(found, minutes, at_once):
    """A launch that is repeated plans the same."""
    assert cut_units([*found], minutes=minutes, at_once=at_once) == cut_units(found, minutes=minutes, at_once=at_once)


@given(items())
def test_a_unit_is_halved_until_it_is_one_pair(found):
    """Both halves have something, at most one model is in both, and no item is lost."""
    for cls in CLASSES:
        mine = tuple(item for item in found if item.cls == cls)
        plan = UnitPlan(mine, cls, length(mine))
        halves = split_unit(plan)
        if pairs_in(plan) < 2:
            assert halves == [plan]
            continue
        assert sorted(item.id for half in halves for item in half.items) == sorted(item.id for item in mine)
        assert len(halves) == 2
        assert all(half.items for half in halves)
        assert set(places(halves, "pair").values()) <= {1}
        assert sum(count > 1 for count in places(halves, "model").values()) <= 1
        assert all(abs(half.seconds - length(half.items)) < SLACK * (1 + half.seconds) for half in halves)
        assert all(half.seconds <= plan.seconds + SLACK for half in halves)


def table(*rows, load=0.0, cls="cpu"):
    """Items of pairs: model and seconds."""
    return [
        UnitItem(f"{model}-{place}", f"{model}/{place}", model, seconds, load, cls)
        for place, (model, seconds) in enumerate(rows)
    ]


def shape(units):
    return [[item.id for item in unit.items] for unit in units]


def test_small_models_share_a_unit():
    """Eight models of four minutes: three fit into a quarter of an hour."""
    units = cut_units(table(*((f"m{n}", 240) for n in range(8))), minutes=15, at_once=1)
    assert [len(unit.items) for unit in units] == [3, 3, 2]


def test_a_long_model_is_cut_evenly_and_each_part_pays_its_load():
    """16 minutes become 8 and 8 and not 15 and 1; the longest item comes first."""
    units = cut_units(table(*[("m", 120)] * 7, ("m", 121), load=10.0), minutes=15, at_once=1)
    assert [unit.seconds for unit in units] == [491.0, 490.0]
    assert units[0].items[0].seconds == 121


def test_jobs_that_would_be_idle_get_work():
    """A minute's work of one model for four jobs; two seconds' work is not worth a second job."""
    assert len(cut_units(table(*[("m", 15)] * 4), minutes=15, at_once=4)) == 4
    assert len(cut_units(table(*[("m", 0.5)] * 4), minutes=15, at_once=4)) == 1


def test_jobs_that_run_together_end_together():
    """Units of 14 minutes and of 2 are no better than two of eight: both jobs run, whatever is in them."""
    found = table(*[("a", 60)] * 8, *[("b", 60)] * 3, *[("c", 60)] * 3, *[("d", 60)] * 2)
    assert [unit.seconds for unit in cut_units(found, minutes=15, at_once=2)] == [480, 480]


def test_loads_count_against_more_jobs():
    """Where loading takes nearly all, the parts of a model would take as long as the whole."""
    assert len(cut_units(table(*[("m", 1)] * 4, load=300.0), minutes=15, at_once=4)) == 1


def test_classes_share_what_may_run_at_once():
    """No class gets more jobs by being looked at alone."""
    found = [*table(*[("a", 60)] * 8), *table(*[("b", 60)] * 8, cls="gpu")]
    assert len(cut_units(found, minutes=15, at_once=8)) == 8


def test_ten_thousand_items_are_cut_at_once():
    """Of few models or of many, with more jobs than items of a model: no step is quadratic."""
    few = table(*((f"m{n % 3}", 460 + n % 7) for n in range(10_000)))
    many = table(*((f"m{n % 5_000}", 1 + n % 7) for n in range(10_000)))
    for found in (few, many):
        assert sum(len(unit.items) for unit in cut_units(found, minutes=15, at_once=5_000)) == 10_000


def test_nothing_is_no_unit():
    """A launch that has selected nothing has nothing to submit."""
    assert cut_units([], minutes=15, at_once=4) == []
