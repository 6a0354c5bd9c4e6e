"""Bundles of scores before and after: what `nel gate` says of them, and what ours does."""

from __future__ import annotations

import numpy as np
import pytest

from tools.bundles import bundles
from tools.peers import BREACH, INSUFFICIENT, PASS, nel_of_flips, nel_verdict

BUNDLES = bundles()


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_both_verdicts_are_the_expected_ones(bundle):
    """Of every bundle both verdicts are known, ours by the comparison that a gate makes."""
    assert (bundle.nel_judged(), bundle.judged().word) == (bundle.nel, bundle.ours)


def test_where_a_peer_passes_without_evidence_ours_does_not():
    """What no sample contradicts is no PASS before there are enough samples to contradict it."""
    alike = [one for one in BUNDLES.values() if one.before == one.after]
    assert {one.nel for one in alike} == {PASS}
    assert {(len(one.before) >= 190, one.ours) for one in alike} == {(False, "INCONCLUSIVE"), (True, "PASS")}


def test_the_peers_rule_is_the_same_of_flips_and_of_differences():
    """The rates of docs/gates.md are of the rule that the bundles are judged by."""
    n, margin = 40, 0.1
    words = {(lost, won): nel_verdict(differences(n, lost, won), margin) for lost in range(12) for won in range(12)}
    lost, won = (np.array(counts, float) for counts in zip(*words, strict=True))
    passed, breached = nel_of_flips(n, lost, won, margin)
    assert passed.tolist() == [word == PASS for word in words.values()]
    assert breached.tolist() == [word == BREACH for word in words.values()]
    assert {*words.values()} == {PASS, BREACH, INSUFFICIENT}


def differences(n: int, lost: int, won: int) -> np.ndarray:
    return np.array([-1.0] * lost + [1.0] * won + [0.0] * (n - lost - won))
