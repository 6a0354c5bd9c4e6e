"""The scheduler against workers on paper."""

from __future__ import annotations

from nodes import Stage, unit


def test_a_pair_starts_when_the_last_of_its_shards_has_ended():
    """Whatever became of them: one that kills every worker does not hold it up for ever."""
    units = [unit(0), unit(1, seconds=5), unit(2), unit(3, after=(0, 1, 2))]
    for dies in ({}, {1: 9}, {2: 1}, {0: 9, 1: 9, 2: 9}):
        stage = Stage(units, 3, dies=dies).play()
        assert sorted(stage.over + stage.lost) == [0, 1, 2, 3]
        assert stage.started[-1][2] == 3


def test_what_waits_for_each_other_or_for_nothing_known_is_run_all_the_same():
    """Never a deadlock."""
    stage = Stage([unit(0, after=(1,)), unit(1, after=(0,)), unit(2, after=(2, 77))], 2).play()
    assert sorted(stage.over) == [0, 1, 2]


def test_workers_stay_for_what_is_still_to_come():
    """Four shards, then four pairs: nobody goes home in between."""
    units = [
        unit(0, seconds=9),
        *(unit(i) for i in range(1, 4)),
        *(unit(i, seconds=9, after=(0,)) for i in range(4, 8)),
    ]
    stage = Stage(units, 4).play()
    assert {stage.moment(index) for index in range(4, 8)} == {9.0}
