"""Rules of p-values that are looked at together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from pytest_evalrun.stats.multiplicity import benjamini_hochberg, holm

VALUES = st.lists(st.floats(0, 1), max_size=30)
BOTH = pytest.mark.parametrize(("adjust", "name"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])


@BOTH
@given(values=VALUES.filter(bool))
@example(values=[0.01, 0.01, 0.04, 0.03])
@example(values=[1.0, 0.0])
def test_adjusted_as_statsmodels_does(adjust, name, values):
    """The values, and their order, are those of ``multipletests``."""
    assert adjust(values) == pytest.approx(list(multipletests(values, method=name)[1]), rel=1e-9, abs=1e-300)


@BOTH
@given(values=VALUES)
def test_adjusting_never_makes_an_alarm(adjust, name, values):
    """No value falls, none is above 1, and a smaller one stays no greater than a greater one."""
    adjusted = adjust(values)
    assert all(value <= new <= 1 for value, new in zip(values, adjusted, strict=True))
    pairs = sorted(zip(values, adjusted, strict=True))
    assert [new for _, new in pairs] == sorted(adjusted)


@given(VALUES)
def test_holm_is_the_stricter_one(values):
    """What Holm lets through, Benjamini and Hochberg do."""
    assert all(
        strict >= mild * (1 - 1e-12) for strict, mild in zip(holm(values), benjamini_hochberg(values), strict=True)
    )


@BOTH
def test_one_comparison_is_as_it_is(adjust, name):
    """Nothing is looked at together: the value stays, and of nothing there is nothing."""
    assert adjust([0.03]) == [0.03]
    assert adjust([]) == []


@BOTH
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(adjust, name, value):
    """NaN would be sorted anywhere, and hide the others."""
    with pytest.raises(ValueError, match="within"):
        adjust([0.5, value])


def test_holm_keeps_its_rate():
    """Of 20,000 suites of 12 gates without a change, one in twenty has an alarm; unadjusted nearly one in two."""
    draws = np.random.default_rng(1).random((20_000, 12))
    least = np.sort(draws)[:, 0]
    alarms = sum(min(holm(list(row))) < 0.05 for row in draws[least < 0.05 / 2])
    assert 0.045 < alarms / len(draws) < 0.0525
    assert (least < 0.05).mean() > 0.4
