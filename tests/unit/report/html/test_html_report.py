"""The page of a run: of fragments that are kept, within its budget, made only where something changed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pytest_evalrun.report.html import fragments
from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.report.html.fragments import Fragments, SampleSource, earlier_runs
from pytest_evalrun.report.html.report import ReportAsked, page_now, write_report
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.results import read_result

DETAIL = re.compile(r'<script type="application/json" id="detail-([^"]+)">(.*?)</script>', re.DOTALL)


def evaluated(run, task="m", dataset="d", wrong=(), total=10, answer="yes", **more):
    """A pair with predictions, scores and a result."""
    right = 1 - len(set(wrong)) / total
    run.predictions("s", task, dataset, [(i, answer, "yes") for i in range(total)])
    run.scores("s", task, dataset, [{"index": i, "right": float(i not in wrong)} for i in range(total)])
    run.result("s", task, dataset, metrics={"right": right}, total=total, **more)
    return run.paths.pair(run.key("s", task, dataset))


def asked(run, **more):
    return ReportAsked(run.paths, read_summary(run.paths, lambda *_: False), **more)


def details(run):
    """What opens for each pair, by its anchor, as a browser reads it."""
    text = run.paths.report.read_text(encoding="utf-8")
    return {anchor: json.loads(found) for anchor, found in DETAIL.findall(text)}


def origin(names=(), values=(), written=None, data=None):
    found = SimpleNamespace(names=names, samples=lambda: iter(values), written=written, data=data, is_whole=True)
    return lambda _: found


@pytest.fixture
def another(run):
    """A run of the same work directory that is older."""
    return type(run)(run.paths.root.with_name("run 0"))


def test_a_fragment_is_read_as_it_was_made(run):
    """Whoever makes it gets what whoever reads it gets."""
    files = evaluated(run, wrong={3})
    made_by = Fragments(run.paths)
    made = made_by.make(files, read_result(files.result))
    assert made_by.read(files) == made
    assert (made.total, made.order) == (10, [(i, 0) for i in range(10)])
    assert json.loads(made.samples[3])["scores"] == {"right": 0.0}


@pytest.mark.parametrize("name", ["result", "predictions", "scores"])
def test_a_fragment_is_stale_where_a_file_behind_it_changed(run, name):
    """By size or time, as markers tell it."""
    files = evaluated(run)
    made_by = Fragments(run.paths)
    made_by.make(files, read_result(files.result))
    os.utime(getattr(files, name), ns=(1, 1))
    assert made_by.read(files) is None


@pytest.mark.parametrize("damage", [b"", b"{", b'{"v":1}\n', b"[]\n{}\n"])
def test_a_damaged_fragment_is_none(run, damage):
    """It is made again, so nobody complains."""
    files = evaluated(run)
    made_by = Fragments(run.paths)
    made_by.make(files, read_result(files.result))
    files.fragment.write_bytes(damage)
    assert made_by.read(files) is None
    write_report(asked(run))
    assert made_by.read(files) is not None


def test_a_torn_fragment_is_none(run):
    """Wherever it ends."""
    files = evaluated(run)
    made_by = Fragments(run.paths)
    made_by.make(files, read_result(files.result))
    whole = files.fragment.read_bytes()
    for size in range(0, len(whole), 97):
        files.fragment.write_bytes(whole[:size])
        assert made_by.read(files) is None


def test_samples_come_with_their_inputs(run):
    """As the dataset has them today; of a sample that is another by now nothing is shown."""
    files = evaluated(run, total=3)
    values = [("s0", "zero"), ("other", "one"), ("s2", "two")]
    source = SampleSource(Inputs(("question",), lambda: iter(values)))
    made = Fragments(run.paths).make(files, read_result(files.result), source)
    inputs = [json.loads(sample)["inputs"] for sample in made.samples]
    text = {"kind": "text", "text": "zero"}
    assert inputs == [[{"name": "question", "part": text}], [], [{"name": "question", "part": text | {"text": "two"}}]]


def test_what_a_judge_said_stands_beside_its_score(run):
    """By the place of the answer."""
    more = {"fingerprint": {"prediction": {}, "score": {"metrics": {"right": {"use": "judge"}}}}}
    files = evaluated(run, total=2, **more)
    lines = [{"index": i, "id": f"s{i}", "status": "ok", "prediction": f"GRADE: {i}"} for i in (0, 1)]
    files.judged_verdicts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = Fragments(run.paths).make(files, read_result(files.result))
    assert json.loads(made.samples[1])["judge"] == [{"metric": "right", "score": 1.0, "text": "GRADE: 1"}]


def test_the_page_has_every_pair_and_opens_its_samples(run):
    """The list of pairs, the matrix, and a detail for each."""
    evaluated(run, "m", wrong={1})
    evaluated(run, "n")
    write_report(asked(run))
    found = details(run)
    assert set(found) == {anchor_of(run.key("s", task, "d")) for task in "mn"}
    one = found[anchor_of(run.key("s", "m", "d"))]
    assert (one["id"], one["status"], one["total"], one["note"]) == ("s/m/d", "passed", 10, "")
    assert [sample["id"] for sample in one["samples"]] == [f"s{i}" for i in range(10)]
    assert (one["scored"], one["binary"], one["better"]) == (["right"], ["right"], {"right": "higher"})
    assert {"name": "predictions", "href": "../predictions/s/m/d.jsonl"} in one["files"]


def test_hostile_text_stays_text(run):
    """No sign of what models and datasets say means anything to HTML or a terminal."""
    bad = "</script><script>alert(1)</script>\u2028\u202e\x1b[0m<!--"
    evaluated(run, answer=bad)
    write_report(asked(run, origin=origin(values=[(f"s{i}", bad) for i in range(10)])))
    text = run.paths.report.read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text
    assert not {"\u2028", "\u202e", "\x1b"} & set(text)
    (one,) = details(run).values()
    assert one["samples"][0]["prediction"]["text"].startswith("</script><script>alert(1)")


def test_nothing_is_written_where_nothing_changed(run):
    """A launch that reused all has no new page."""
    files = evaluated(run)
    path = write_report(asked(run))
    os.utime(path, ns=(1, 1))
    write_report(asked(run))
    assert path.stat().st_mtime_ns == 1
    os.utime(files.result, ns=(5, 5))
    write_report(asked(run))
    assert path.stat().st_mtime_ns > 1


def test_the_page_is_made_again_where_a_pair_without_a_result_ended(run):
    """Its verdict is that of the whole run, though no result is another."""
    evaluated(run)
    for lacking, word in (({"s/m/e": "pending"}, "PENDING"), ({"s/m/e": "error"}, "ERROR")):
        now = asked(run)
        write_report(replace(now, summary=replace(now.summary, lacking=lacking)))
        assert f"<title>{word}" in run.paths.report.read_text()


def test_fragments_that_hold_are_not_made_again(run):
    """Only that of the pair that changed."""
    first, second = evaluated(run, "m"), evaluated(run, "n")
    write_report(asked(run))
    os.utime(first.fragment, ns=(1, 1))
    os.utime(second.fragment, ns=(1, 1))
    evaluated(run, "n", wrong={1})
    os.utime(second.result, ns=(7, 7))
    write_report(asked(run))
    assert first.fragment.stat().st_mtime_ns == 1
    assert second.fragment.stat().st_mtime_ns > 1


def test_the_page_stays_within_its_budget(run):
    """Pairs in trouble keep more of their samples than others; what is left out is said."""
    for number in range(20):
        task = f"m{number:02}"
        evaluated(run, task, total=100, answer="x" * 300, status="failed" if number == 7 else "passed")
    budget = 700_000
    path = write_report(asked(run, budget=budget))
    assert path.stat().st_size <= budget
    found = details(run)
    counts = {one["id"]: len(one["samples"]) for one in found.values()}
    assert 0 < counts["s/m00/d"] < counts["s/m07/d"] <= 100
    assert found[anchor_of(run.key("s", "m00", "d"))]["note"].startswith(f"{counts['s/m00/d']} of 100 samples")
    assert "fewer samples than the run has" in path.read_text(encoding="utf-8")


def test_pairs_for_which_there_is_no_room_are_named(run):
    """They have a line and a cell, and open to say so."""
    for number in range(10):
        evaluated(run, f"m{number}")
    write_report(asked(run, budget=1))
    one = details(run)[anchor_of(run.key("s", "m3", "d"))]
    assert (one["samples"], one["total"]) == ([], 10)
    assert "no room" in one["note"]
    page, _ = page_now(asked(run))
    assert len(page.heads) == 10


def test_a_run_without_pairs_has_a_page(run):
    """It says that there is nothing."""
    assert "NOTHING" in write_report(asked(run)).read_text(encoding="utf-8")


def test_samples_that_flipped_since_the_run_before_come_first(run, another):
    """The newest earlier run that has the pair; its values are what trends compare with."""
    evaluated(another, wrong={4, 5}, total=500)
    evaluated(run, wrong={5, 450}, total=500)
    assert [paths.root.name for paths in earlier_runs(run.paths)] == ["run 0"]
    write_report(asked(run))
    (one,) = details(run).values()
    flips = {sample["id"]: sample["flip"] for sample in one["samples"] if sample["flip"]}
    assert flips == {"s4": {"right": "won"}, "s450": {"right": "lost"}}
    assert (one["against"], one["counts"]["flipped"]) == ("run 0", 2)
    page, _ = page_now(asked(run))
    assert page.against == "run 0"
    cell = page.grids[0].cells[0][0]
    assert (cell.trend, cell.before) == ("same", "0.9960")


def test_another_run_to_compare_with_can_be_named(run, another):
    """Then the one before counts for nothing."""
    third = type(run)(run.paths.root.with_name("run 2"))
    evaluated(another, wrong={1})
    evaluated(third, wrong={1, 2, 3})
    evaluated(run, wrong={1, 2})
    page, _ = page_now(asked(run, against=third.paths))
    assert page.against == "run 2"
    assert page.grids[0].cells[0][0].trend == "better"
    page, _ = page_now(asked(run))
    assert page.grids[0].cells[0][0].trend == "worse"


def test_a_library_that_became_another_is_a_change(run, another):
    """Since the run that it is compared with."""
    evaluated(another, environment={"python": "3.11", "libraries": {"numpy": "1.26"}})
    evaluated(run, environment={"python": "3.11", "libraries": {"numpy": "2.1"}})
    write_report(asked(run))
    (one,) = details(run).values()
    assert one["changes"] == ["numpy 1.26 became 2.1"]


def test_what_changed_since_the_last_evaluation_is_told_part_by_part(run):
    """By the fingerprints in the history of the work directory; its values are the sparkline."""
    new = {"prediction": {"model": "b", "inputs": "i"}, "score": {"metrics": {}}}
    old = {"prediction": {"model": "a", "inputs": "i"}, "score": {"metrics": {}}}
    evaluated(run, wrong={1}, fingerprint=new)
    lines = [
        {"pair": "s/m/d", "fingerprint": old, "metrics": {"right": 0.5}, "time": "1"},
        {"pair": "s/m/other", "fingerprint": old, "metrics": {"right": 0.1}, "time": "2"},
        {"pair": "s/m/d", "fingerprint": {"prediction": {"limit": 3}}, "metrics": {"right": 0.9}, "time": "3"},
        {"pair": "s/m/d", "fingerprint": new, "metrics": {"right": 0.9}, "time": "4"},
    ]
    (run.paths.root.parent / "history.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines) + "torn")
    page, _ = page_now(asked(run))
    assert page.heads[0].spark == (0.5, 0.9)
    assert page.grids[0].cells[0][0].trend == "better"
    write_report(asked(run))
    (one,) = details(run).values()
    assert one["changes"] == ["model changed", "right 0.5000 → 0.9000"]
    assert [entry["time"] for entry in one["history"]] == ["1", "4"]


def test_problems_come_worst_first_with_their_reasons(run, breach):
    """Pairs that came to nothing, then breached gates by how far they are off."""
    evaluated(run, "near", status="failed", gates=[breach("right", 0.89)])
    evaluated(run, "far", status="failed", gates=[breach("right", 0.1)])
    run.result("s", "broken", "d", status="error", metrics={}, total=0, environment={"error": "no\nmodel"})
    page, _ = page_now(asked(run))
    assert [(one.pair, one.status) for one in page.problems] == [
        ("s/broken/d", "error"),
        ("s/far/d", "failed"),
        ("s/near/d", "failed"),
    ]
    assert page.problems[0].reason == "no\\nmodel"
    assert page.problems[1].reason == "right 0.1000, min 0.9000"
    cells = {task: row[0] for task, row in zip(page.grids[0].tasks, page.grids[0].cells, strict=True)}
    assert (cells["far"].holds, cells["broken"].marks) == (False, ("error",))
    assert cells["far"].distance == pytest.approx(-0.8 / 0.9)


HELD = {"metric": "right", "kind": "max_drop", "value": 0.9, "limit": 0.89, "by": 0, "holds": True}
OPEN = HELD | {
    "verdict": "INCONCLUSIVE",
    "tier": "critical",
    "why": "n=10 <b>",
    "method": "Tango's score interval",
    "interval": [-0.03, 0.01],
    "n": 10,
    "confidence": 0.95,
    "baseline": "main",
    "margin": 0.01,
    "before": 0.91,
    "lost": 2,
    "won": 1,
    "discordance": 0.3,
}


def test_gates_to_look_at_stand_apart_from_what_failed(run):
    """Those that their intervals leave open, and advisory ones; a pair shows what each verdict rests on."""
    advisory = OPEN | {"verdict": "FAIL", "tier": "advisory", "interval": [-0.03, -0.02]}
    evaluated(
        run, gates=[OPEN, advisory, {"metric": "right", "kind": "min", "value": 0.9, "limit": 0.1, "holds": True}]
    )
    page, _ = page_now(asked(run))
    assert page.problems == ()
    assert [(note.pair, note.anchor, note.word) for note in page.notes] == [
        ("s/m/d", anchor_of(run.key("s", "m", "d")), "undecided"),
        ("s/m/d", anchor_of(run.key("s", "m", "d")), "advisory"),
    ]
    assert page.grids[0].cells[0][0].undecided
    evaluated(run, "advised", gates=[advisory])
    now, _ = page_now(asked(run))
    assert [now.grids[0].cells[0][0].holds, now.grids[0].cells[1][0].holds] == [None, True]
    run.paths.pair(run.key("s", "advised", "d")).result.unlink()
    write_report(asked(run))
    text = run.paths.report.read_text()
    assert 'aria-label="undecided">?</i>' in text
    assert "<h2>Gates to look at</h2>" in text
    assert page.alarms == ()
    evaluated(run, gates=[OPEN | {"p": 0.0001, "n": 200}])
    page, _ = page_now(asked(run))
    assert page.alarms[0].startswith("alarms (s): 1 of 1 gate got worse beyond chance: m/d right -0.01 against main")
    evaluated(run, gates=[OPEN, advisory, HELD])
    (one,) = details(run).values()
    first = one["judged"][0]
    assert (first[0], first[-1], [bool(words) for words in one["judged"]]) == (
        *("INCONCLUSIVE", "n=10 <b>"),
        [True, True, False],
    )
    assert first[1:-1] == [
        *("change -0.01 [-0.03, +0.01] (0.95)", "Tango's score interval, n=10, discordance 0.3, 2 lost, 1 won"),
        *("against main, 0.9100", "margin 0.01", "critical"),
    ]


def test_a_breach_that_its_interval_leaves_open_says_so(run):
    """Among the problems, with what it would take."""
    evaluated(run, status="failed", gates=[OPEN | {"holds": False, "value": 0.88, "by": 0.01}])
    page, _ = page_now(asked(run))
    (problem,) = page.problems
    assert problem.reason == "right 0.8800, max_drop 0.8900, change -0.03 [-0.03, +0.01], undecided: n=10 <b>"
    assert page.notes == ()


def test_pairs_without_a_result_are_among_the_problems(run, breach):
    """Those that ended in an error, and results that cannot be read: the verdict counts them, and they are named."""
    evaluated(run, status="failed", gates=[breach("right", 0.8)])
    evaluated(run, "torn").result.write_text("{")
    now = asked(run)
    now = replace(now, summary=replace(now.summary, lacking={"s/gone/d": "error", "s/later/d": "pending"}))
    page, _ = page_now(now)
    assert [(one.pair, one.status, bool(one.anchor)) for one in page.problems] == [
        ("results/s/torn/d.json", "error", False),
        ("s/gone/d", "error", False),
        ("s/m/d", "failed", True),
    ]
    write_report(now)
    assert "<bdi>s/gone/d</bdi><p" in run.paths.report.read_text()


def test_scatters_show_which_models_no_other_beats(run):
    """Of those that have both values, on one dataset."""
    for task, wrong, p50 in (("slow good", 0, 0.9), ("fast bad", 5, 0.1), ("slow bad", 6, 0.8), ("unknown", 1, None)):
        seconds = {"load": 0.1, "predict": 0.2, "score": 0.1, "total": 0.4, "p50": p50, "p95": None}
        evaluated(run, task, wrong=range(wrong), seconds=seconds, timing=2)
    page, _ = page_now(asked(run))
    (scatter,) = page.scatters
    assert [(point.label, point.pareto) for point in scatter.points] == [
        ("fast bad", True),
        ("slow bad", False),
        ("slow good", True),
    ]


@pytest.mark.parametrize("how", ["in order", "out of order", "torn", "several answers", "fewer scores"])
def test_a_large_pair_is_told_of_as_a_small_one(run, monkeypatch, how):
    """Its lines are read one by one, each once where they stand in order; all the same wherever they do not."""
    total = 600
    files = evaluated(run, wrong={17, 555}, total=total)
    if how == "out of order":
        lines = files.predictions.read_text().splitlines(keepends=True)
        files.predictions.write_text("".join(lines[300:] + lines[:300]))
    if how == "torn":
        files.predictions.write_bytes(files.predictions.read_bytes()[:-9])
    if how == "fewer scores":
        files.scores.write_text("".join(files.scores.read_text().splitlines(keepends=True)[5:]))
    if how == "several answers":
        places = [(i // 2, i % 2) for i in range(total)]
        head = {"status": "ok", "prediction": "yes", "error": None, "seconds": 0.1}
        run.predictions("s", "m", "d", [{"index": i, "id": f"s{i}", **head, "generation": g} for i, g in places])
        run.scores("s", "m", "d", [{"index": i, "generation": g, "right": float(i != 8)} for i, g in places])
    result = read_result(files.result)
    if how == "several answers":
        result.fingerprint["prediction"] = {"generations": 2}
    small = Fragments(run.paths).make(files, result)
    monkeypatch.setattr(fragments, "SMALL_FILE", 0)
    large = Fragments(run.paths).make(files, result)
    assert (large.detail, large.total, large.order[:2]) == (small.detail, small.total, small.order[:2])
    assert len(large.samples) == len(set(large.order)) == 200
    places = [(json.loads(sample)["i"], json.loads(sample)["g"] or 0) for sample in large.samples]
    assert places == large.order


def test_of_equals_each_is_as_good_as_the_other(run):
    """Who has the same value for the same time is beaten by nobody; who needs longer for it is."""
    for task, p50 in (("one", 0.1), ("other", 0.1), ("slower", 0.2)):
        seconds = {"load": 0.1, "predict": 0.2, "score": 0.1, "total": 0.4, "p50": p50, "p95": None}
        evaluated(run, task, wrong={1}, seconds=seconds, timing=2)
    page, _ = page_now(asked(run))
    assert [point.pareto for point in page.scatters[0].points] == [True, True, False]


def test_of_many_datasets_there_is_one_scatter_of_means(run):
    """Of the models that have all of them."""
    for task, p50, datasets in (("slow", 0.9, 6), ("fast", 0.1, 6), ("half", 0.5, 3)):
        for number in range(datasets):
            seconds = {"load": 0.1, "predict": 0.2, "score": 0.1, "total": 0.4, "p50": p50 + number / 100, "p95": None}
            wrong = range(number if task == "slow" else 1)
            evaluated(run, task, f"d{number}", wrong=wrong, seconds=seconds, timing=2)
    page, _ = page_now(asked(run))
    (scatter,) = page.scatters
    assert scatter.title == "s, mean of 6 datasets"
    found = {point.label: (round(point.x, 6), round(point.y, 6), point.pareto) for point in scatter.points}
    assert found == {"fast": (0.125, 0.9, True), "slow": (0.925, 0.75, False)}
