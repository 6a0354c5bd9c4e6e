"""Rules of what is said before a run."""

from __future__ import annotations

import pytest

from pytest_evalrun.stats.power import chance_of_pass, least_n


@pytest.mark.parametrize(
    ("confidence", "least"),
    [(0.95, [766, 382, 254, 190, 126, 74, 36]), (0.9, [540, 269, 179, 134, 89, 53, 26])],
)
def test_least_n_is_that_of_no_flips(confidence, least):
    """The smallest n at which PASS is possible is ceil(z^2 (1 - m) / m) + 1; one-sided 95 % is a confidence of .90."""
    assert [least_n(margin, confidence) for margin in (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)] == least


@pytest.mark.parametrize(
    ("margin", "gain", "chances"),
    [
        (0.05, 0, {10: 0, 30: 0, 100: 0.006, 300: 0.016}),
        (0.05, 0.05, {10: 0.001, 30: 0.013, 100: 0.022, 300: 0.024}),
        (0.02, 0, {30: 0, 100: 0, 300: 0.017}),
        (0.02, 0.02, {10: 0, 30: 0.001, 100: 0.024}),
        (0.015, 0, {10: 0, 30: 0, 100: 0}),
    ],
)
def test_pass_of_what_is_as_bad_as_the_margin_is_rare(margin, gain, chances):
    """Where the true drop equals the margin, PASS has a chance of at most .025, to the published digits."""
    found = {n: chance_of_pass(n, margin, margin + 2 * gain, margin) for n in chances}
    assert found == pytest.approx(chances, abs=6e-4)
