"""What a dry run shows: the order of starts with what each takes, and what it comes to."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest

from pytest_evalrun.planning.costs import Estimate
from pytest_evalrun.planning.plan import clock, duration, plan_lines
from pytest_evalrun.planning.pool import Pool
from pytest_evalrun.slots.need import Need
from pytest_evalrun.suite.pairs import Cut, Dataset, Pair, Task


def verdict(name, action="run", reason="new", size=None):
    task, _, dataset = name.rpartition("/")
    pair = Pair("s", "/s", Task(task, None, "/s"), Dataset(dataset, "/s/d"), ())
    return SimpleNamespace(pair=pair, action=action, reason=reason, size=size)


def plan(verdicts, seconds, workers=1, load=10.0, needs=None, memories=(), sources=None, boards=None):
    """Lines for verdicts that take so many seconds each, in their order."""
    sources = sources or ["history"] * len(verdicts)
    told = zip(verdicts, seconds, sources, strict=True)
    expected = {one.pair.full_id: Estimate(time, load, source) for one, time, source in told}
    return plan_lines(verdicts, expected, needs or {}, workers, Pool(memories, boards))


def words(lines, column):
    """A column of the lines of pairs."""
    return [line.split()[column] for line in lines if line.startswith(("run", "score"))]


def test_pairs_stand_in_the_order_in_which_they_start():
    """Longest first on each worker, with the moment, the worker and what the pair takes."""
    lines = plan([verdict("a/short"), verdict("b/long"), verdict("a/long")], [5, 100, 90], workers=2)
    assert lines[0].split() == ["what", "pair", "starts", "on", "takes", "load", "why"]
    assert words(lines, 1) == ["s/b/long", "s/a/long", "s/a/short"]
    assert words(lines, 2) == ["0:00", "0:00", "1:40"]
    assert words(lines, 3) == ["gw0", "gw1", "gw1"]
    assert lines[1].endswith("1 min 40 s     10 s  (new)")
    assert lines[3].endswith("5.0 s        -  (new)")


def test_the_last_line_says_what_it_comes_to():
    """Workers, pairs, loads, the end, the longest, and how well that is known."""
    verdicts = [verdict("a/x"), verdict("a/y"), verdict("b/x"), verdict("b/y")]
    sources = ["history", "history", "samples", "size"]
    assert plan(verdicts, [40, 20, 30, 30], workers=2, sources=sources)[-1] == (
        "2 workers: 4 pairs, 2 model loads, about 1 min 10 s (longest pair 40 s); "
        "seconds from history for 2, from samples for 1, guessed by size for 1; samples of 4 pairs not counted yet"
    )


def test_what_is_not_known_from_the_pair_itself_is_marked():
    """Everybody sees which seconds are guesses."""
    lines = plan([verdict("a/x"), verdict("a/y")], [40, 20], sources=["history", "size"])
    assert "  40 s" in lines[1]
    assert " ~20 s" in lines[2]


def test_what_has_nothing_to_do_follows_without_a_time():
    """Reused, skipped and broken pairs: their verdicts as ever, in pytest's order."""
    verdicts = [
        verdict("a/old", "reuse", "reused: unchanged", size=8),
        verdict("a/off", "skip", "not today"),
        verdict("a/new", "resume", "resumed at 4 of 8 samples", size=8),
        verdict("a/bad", "error", "no such file"),
    ]
    lines = plan(verdicts, [1, 1, 30, 1])
    assert lines[1].startswith("run    s/a/new     0:00")
    assert lines[1].endswith("8 samples  (resumed at 4 of 8 samples)")
    assert lines[2:5] == [
        "reuse  s/a/old  8 samples  (reused: unchanged)",
        "skip   s/a/off  (not today)",
        "error  s/a/bad  (no such file)",
    ]
    assert lines[-1].startswith("1 worker: 1 pair, 1 model load, about 40 s")


def test_what_is_only_scored_again_loads_no_model():
    """Predictions are there: the metrics look at them once more, which is a small part of it."""
    lines = plan([verdict("a/x", "score", "scored again: references changed"), verdict("a/y")], [100, 20], workers=2)
    assert words(lines, 1) == ["s/a/y", "s/a/x"]
    assert lines[2].split()[:7] == ["score", "s/a/x", "0:00", "gw1", "5.0", "s", "-"]
    assert "1 model load," in lines[-1]


def test_shards_share_what_their_pair_takes():
    """Each in proportion to its samples; the pair itself, which only scores, is expected to load nothing."""
    cuts = (Cut(0, 30, "0-30"), Cut(30, 40, "30-40"))
    whole = replace(verdict("a/x").pair, cuts=cuts)
    verdicts = [SimpleNamespace(pair=pair, action="run", reason="new", size=None) for pair in [*whole.shards(), whole]]
    expected = {"s/a/x": Estimate(100, 10, "history")}
    lines = plan_lines(verdicts, expected, {"s/a/x/0-30": Need(1)}, 3, Pool([40]))
    taken = {line.split()[1]: line.split()[4:] for line in lines[1:-1]}
    assert taken == {
        "s/a/x/0-30": ["1", "min", "15", "s", "10", "s", "1", "(new)"],
        "s/a/x/30-40": ["25", "s", "10", "s", "-", "(new)"],
        "s/a/x": ["5.0", "s", "-", "-", "(new)"],
    }
    assert "3 pairs, 2 model loads" in lines[-1]


def test_one_process_keeps_pytests_order():
    """Without workers nothing is handed out: a model is loaded whenever another one was in between."""
    verdicts = [verdict("a/short"), verdict("b/x"), verdict("a/long")]
    lines = plan(verdicts, [5, 5, 50], workers=0)
    assert words(lines, 1) == ["s/a/short", "s/b/x", "s/a/long"]
    assert words(lines, 2) == ["0:00", "0:15", "0:30"]
    assert words(lines, 3) == ["main"] * 3
    assert lines[-1].startswith("one process, in pytest's order: 3 pairs, 3 model loads, about 1 min 30 s")


def test_gpus_are_shown_where_pairs_need_some():
    """How many each pair takes, and how many such models the machine holds at once."""
    verdicts = [verdict("a/x"), verdict("b/x"), verdict("c/x")]
    needs = {"s/a/x": Need(2, 20), "s/b/x": Need(1, 20, 2)}
    lines = plan(verdicts, [30, 20, 10], workers=3, needs=needs, memories=[40, 40])
    assert lines[0].split()[-2:] == ["GPUs", "why"]
    taken = {line.split()[1]: line.split()[-2] for line in lines[1:-1]}
    assert taken == {"s/a/x": "2", "s/b/x": "1", "s/c/x": "-"}
    assert lines[-1].startswith("3 workers, 2 GPUs (4 slots): 3 pairs, 3 model loads, about")


def test_boards_are_counted_where_pairs_need_one():
    """In the last line, with their slots; what one board holds one model of runs one after the other."""
    verdicts = [verdict("a/x"), verdict("b/x"), verdict("c/x")]
    needs = {"s/a/x": Need(devices=("one",)), "s/b/x": Need(devices=("one", "two"))}
    lines = plan(verdicts, [30, 20, 10], workers=3, needs=needs, boards={"one": 1, "two": 2})
    assert lines[0].split()[-2:] == ["load", "why"]
    assert lines[-1].startswith("3 workers, 2 boards (3 slots): 3 pairs, 3 model loads, about 40 s")
    lines = plan(verdicts[:2], [30, 20], workers=3, needs=needs, boards={"one": 1})
    assert words(lines, 2) == ["0:00", "0:40"]


def test_what_can_never_start_is_told():
    """A pair that asks for more than there is has a line, but no moment."""
    lines = plan([verdict("a/x")], [30], needs={"s/a/x": Need(4)}, memories=[40])
    assert lines == [
        "run    s/a/x  (new)",
        (
            "1 worker, 1 GPU (1 slot): no pair would be run; 1 can never start: too few GPUs of that size; "
            "samples of 1 pair not counted yet"
        ),
    ]


def test_long_names_stay_whole_and_sixty_four_pairs_fit_a_window():
    """Columns of 100 characters hold what usual names need; a very long name moves its own line only."""
    verdicts = [verdict(f"models/m{number}/dataset{number % 8}") for number in range(64)]
    lines = plan([*verdicts, verdict("m" * 60 + "/x")], [3] * 65, workers=8, load=5000)
    assert sum(len(line) > 100 for line in lines[:-1]) == 1
    assert any(f"s/{'m' * 60}/x" in line for line in lines)


def test_nothing_to_do_is_one_line_more():
    """Then there is no head either."""
    lines = plan([verdict("a/x", "reuse", "unchanged")], [1], workers=4)
    assert lines == ["reuse  s/a/x  (unchanged)", "4 workers: no pair would be run"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.001, "0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_as_exact_as_expectations_are(seconds, text):
    """Tenths of seconds while they matter, minutes when hours pass."""
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (3599, "59:59"), (3723, "1:02:03")])
def test_moments_are_shown_as_on_a_clock(seconds, text):
    """Of the run: it begins at 0:00."""
    assert clock(seconds) == text


def test_a_pair_that_is_cut_starts_when_its_shards_have_ended():
    """However many workers are free: it takes over what they predict."""
    whole = verdict("a/x")
    whole.pair = replace(whole.pair, cuts=(Cut(0, 20, "0-20"), Cut(20, 40, "20-40")))
    shards = [SimpleNamespace(pair=shard, action="run", reason="new", size=20) for shard in whole.pair.shards()]
    lines = plan_lines([*shards, whole], {"s/a/x": Estimate(40, 10, "history")}, {}, 3, Pool())
    starts = dict(zip(words(lines, 1), words(lines, 2), strict=True))
    assert starts == {"s/a/x/0-20": "0:00", "s/a/x/20-40": "0:00", "s/a/x": "0:30"}


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize(
    ("actions", "starting"),
    [
        (("reuse", "reuse", "reuse"), []),
        (("reuse", "reuse", "score"), ["s/a/x"]),
        (("reuse", "resume", "run"), ["s/a/x/20-40", "s/a/x"]),
        (("run", "run", "reuse"), ["s/a/x/0-20", "s/a/x/20-40"]),
        (("error", "run", "error"), ["s/a/x/20-40"]),
    ],
    ids=["complete", "to score", "partly done", "shards alone", "broken"],
)
def test_a_pair_that_is_cut_waits_for_those_of_its_shards_that_run(actions, starting, workers):
    """Whatever is done already takes no part in the plan, and nothing waits for it."""
    whole = replace(verdict("a/x").pair, cuts=(Cut(0, 20, "0-20"), Cut(20, 40, "20-40")))
    parts = zip([*whole.shards(), whole], actions, strict=True)
    verdicts = [SimpleNamespace(pair=pair, action=action, reason="why", size=None) for pair, action in parts]
    verdicts.append(verdict("b/long"))
    expected = {"s/a/x": Estimate(40, 10, "history"), "s/b/long": Estimate(500, 10, "history")}
    lines = plan_lines(verdicts, expected, {}, workers, Pool())
    starts = dict(zip(words(lines, 1), words(lines, 2), strict=True))
    assert starts.keys() == {*starting, "s/b/long"}
    if workers == 3 and "s/a/x" in starts:
        assert starts["s/a/x"] == ("0:30" if "s/a/x/20-40" in starts else "0:00")


def test_the_command_of_a_program_stands_below_its_pair():
    """Of what starts and of what is reused; other kinds of models have none."""
    verdicts = [verdict("a/x", size=8), verdict("b/x", size=8), verdict("a/y", "reuse", "unchanged", size=8)]
    expected = {one.pair.full_id: Estimate(5, 0, "history") for one in verdicts}
    commands = {"s/a/x": "python worker.py x", "s/a/y": "python worker.py y"}
    lines = plan_lines(verdicts, expected, {}, 1, Pool(), commands)
    below = {before.split()[1]: line for before, line in pairwise(lines) if "$ " in line}
    assert below == {"s/a/x": "       $ python worker.py x", "s/a/y": "       $ python worker.py y"}
