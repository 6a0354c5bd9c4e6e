"""Gates that rest on intervals, in real runs: verdicts, tiers, baselines that are there, or not, or damaged."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET

import pytest

from pytest_evalrun.comparison.runside import reference_digest

# Answers wrongly to the first so many samples, and logs what it is asked, and that it is loaded.
WRONG = """
import os

class Model:
    def __init__(self, path=None, wrong=0, lucky=0):
        self.wrong, self.lucky = wrong, lucky
        self.note("loaded")

    def note(self, *words):
        with open(os.environ.get("ASKED", os.devnull), "a") as file:
            file.writelines(f"{word}\\n" for word in words)

    def predict(self, batch):
        self.note(*(sample.id for sample in batch))
        return [sample.input if sample.input >= self.wrong else -1 for sample in batch]
"""
DROP = {"max_drop": 0.05, "baseline": "before"}


@pytest.fixture
def gated(project):
    """``gated({"d": {"wrong": 3}}, gates=…)``: a model over datasets of so many samples, with words of each."""

    def make(datasets, samples=200, **top):
        project.make(datasets=(), samples=samples)
        (project.suite / "model.py").write_text(WRONG)
        for name in datasets:
            project.dataset(name, samples)
        entries = [
            {"name": name, "path": f"{name}.jsonl", "params": {"wrong": words.get("wrong", 0)}}
            | {key: value for key, value in words.items() if key != "wrong"}
            for name, words in datasets.items()
        ]
        project.yaml(("a",), (), **({"datasets": entries, "max_batch_size": 100} | top))
        return project

    return make


@pytest.fixture
def evaluated_before(gated):
    """A run called ``before`` of a model that answers all, then the suite with other words."""

    def make(datasets, samples=200, before=0, **top):
        words = {name: {"wrong": before} for name in datasets}
        project = gated(words, samples, **{key: value for key, value in top.items() if key != "gates"})
        assert project.run("evals").code == 0
        rename(project, "before")
        gated(datasets, samples, **top)
        return project

    return make


def rename(project, name):
    """Call the latest run so, and let the next launch begin another."""
    (project.latest).rename(project.workdir / name)
    (project.workdir / "latest").unlink()


def gate_of(project, dataset="d"):
    (gate,) = project.result("a", dataset)["gates"]
    return gate


# Of 200 samples so many more are wrong than before, and 5 points are allowed.
VERDICTS = {"PASS": 0, "INCONCLUSIVE": 8, "FAIL": 40}
OVER = 14  # inconclusive, and the value is past the limit
STATUS = {
    ("PASS", "value"): "passed",
    ("INCONCLUSIVE", "value"): "passed",
    ("FAIL", "value"): "failed",
    ("PASS", "fail"): "passed",
    ("INCONCLUSIVE", "fail"): "failed",
    ("FAIL", "fail"): "failed",
    ("PASS", "pass"): "passed",
    ("INCONCLUSIVE", "pass"): "passed",
    ("FAIL", "pass"): "failed",
}


def test_verdicts_and_what_follows_of_them(evaluated_before):
    """The status follows PASS and FAIL, of what is INCONCLUSIVE `when_unsure`, and nothing that is advisory."""
    datasets = {
        f"{word}-{unsure}-{tier}": {
            "wrong": wrong,
            "gates": {"exact_match": DROP | {"when_unsure": unsure, "tier": tier}},
        }
        for word, wrong in (*VERDICTS.items(), ("OVER", OVER))
        for unsure in ("value", "fail", "pass")
        for tier in ("supporting", "advisory")
    }
    project = evaluated_before(datasets)
    ran = project.run("evals", "-n", "2")
    assert ran.code == 1, ran
    for name in datasets:
        word, unsure, tier = name.split("-")
        gate = gate_of(project, name)
        verdict = "INCONCLUSIVE" if word == "OVER" else word
        status = "failed" if word == "OVER" and unsure == "value" else STATUS[verdict, unsure]
        status = "passed" if tier == "advisory" else status
        assert (gate["verdict"], gate["tier"]) == (verdict, tier), name
        assert project.result("a", name)["status"] == status, name
        assert gate["holds"] == (status == "passed"), name
        assert gate.get("unsure") == (unsure if verdict == "INCONCLUSIVE" else None), name
    tasks = (project.latest / ".task_list").read_text()
    failed = [name for name in datasets if project.result("a", name)["status"] == "failed"]
    assert sorted(line[1:-2] for line in tasks.splitlines() if line.endswith("|3")) == sorted(failed)
    assert ran.counts == {"failed": len(failed), "passed": len(datasets) - len(failed)}


def test_a_result_says_what_its_verdict_rests_on(evaluated_before, tmp_path):
    """Interval, method, flips, coverage; the short line, the table and JUnit's properties tell the same."""
    project = evaluated_before({"d": {"wrong": 40}}, gates={"exact_match": DROP | {"tier": "critical"}})
    ran = project.run("evals", f"--junitxml={tmp_path}/junit.xml", COLUMNS="200")
    gate = gate_of(project)
    low, high = gate.pop("interval")
    assert low < -0.2 < high < -0.05
    assert gate == {
        "metric": "exact_match",
        "kind": "max_drop",
        "value": 0.8,
        "limit": 0.95,
        "by": pytest.approx(0.15),
        "verdict": "FAIL",
        "holds": False,
        "tier": "critical",
        "why": gate["why"],
        "confidence": 0.95,
        "method": gate["method"],
        "approximate": False,
        "n": 200,
        "baseline": "before",
        "margin": 0.05,
        "before": 1.0,
        "p": pytest.approx(0, abs=1e-9),
        "lost": 40,
        "won": 0,
        "discordance": 0.2,
        "coverage": {"both": 200, "before": 0, "after": 0, "changed": 0},
    }
    assert "Tango" in gate["method"]
    rests = f"-0.2 [{low:.4g}, {high:.4g}], n=200"
    assert f"::test_pair[a/d] - exact_match 0.8 < 0.95 ({rests})" in ran
    assert "exact_match max_drop 0.05 against before (1): FAIL\n" in ran
    assert f"  {rests} at 95 % by {gate['method']}" in ran
    assert "  lost 40: 0, 1, 2, 3, 4 and 35 others; won 0" in ran
    properties = {each.get("name"): each.get("value") for each in ET.parse(tmp_path / "junit.xml").iter("property")}
    told = f"FAIL: 0.8 < 0.95 by 0.15; {rests} at 95 % by {gate['method']}; against before"
    assert properties["gate.exact_match.max_drop"] == told


def save(project, called, *datasets):
    """Keep the latest run's scores as a baseline, as ``evalrun baseline save`` does."""
    for dataset in datasets or ("d",):
        result = project.result("a", dataset)
        scores = (project.latest / f"predictions/echo/a/{dataset}.scores.jsonl").read_text().splitlines()
        head = {"format": 1, "pair": f"echo/a/{dataset}", "run": "r", "time": "2026-11-29T02:00:00Z"}
        head |= {"samples": len(scores), "metrics": result["metrics"], "scoring": result["fingerprint"]["score"]}
        lines = [head | {"names": ["exact_match"], "statistics": [], "binary": ["exact_match"]}]
        references = {line["id"]: line["reference"] for line in project.predictions("a", dataset)}
        scored = ((line["id"], line["exact_match"]) for line in map(json.loads, scores))
        lines += [[name, reference_digest(references[name]), [score]] for name, score in scored]
        file = baseline(project, called, dataset)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def baseline(project, name, dataset="d"):
    return project.root / "baselines" / name / "echo" / "a" / f"{dataset}.jsonl"


@pytest.fixture
def asked(tmp_path):
    """What the model of a launch was asked: ``asked()`` reads it and begins anew."""
    file = tmp_path / "asked"

    def take():
        words = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return words

    take.file = str(file)
    return take


GATES = {"exact_match": {"max_drop": 0.05, "baseline": "main"}}


def test_the_run_that_is_to_become_the_baseline(gated, asked):
    """Without the baseline all is evaluated and kept, then each pair is an ERROR that says how it is made; once it is,
    the same command asks nothing and judges.
    """
    project = gated({"d": {}, "e": {}}, gates=GATES)
    ran = project.run("evals", ASKED=asked.file)
    assert ran.counts == {"error": 2}, ran
    assert len(asked()) == 401  # all samples, and one load
    looked = f"looked in baselines/ of {project.suite} and of the directories above it, and among the runs of "
    assert f"gate on exact_match: no baseline 'main', and no run of that name; {looked}{project.workdir}; " in ran
    assert "`evalrun baseline save main` makes it of them, then the same command judges" in ran
    result = project.result("a", "d")
    assert result["status"] == "error"
    assert result["gates"] == []
    assert result["metrics"]["exact_match"]["value"] == 1
    assert "no baseline 'main'" in result["environment"]["error"]
    for words in (("list",), ("show", "echo/a/d"), ("explain", "a/d"), ("baseline", "list")):
        assert project.evalrun(*words)[0] == 0, words
    code, told, errors = project.evalrun("baseline", "save", "main")
    assert code == 0, told + errors
    again = project.run("evals", ASKED=asked.file)
    assert again.code == 0, again
    assert again.counts == {"passed": 2}
    assert asked() == []
    result = project.result("a", "d")
    assert (result["status"], result["gates"][0]["verdict"]) == ("passed", "PASS")
    assert "error" not in result["environment"]


def test_a_slip_of_the_pen_in_a_baseline(evaluated_before):
    """What there is is named, and what is nearest."""
    project = evaluated_before({"d": {}})
    project.run("evals")
    save(project, "main")
    ran = project.run("evals", "--eval-set", "gates.exact_match={max_drop: 0.05, baseline: mian}")
    assert "no baseline 'mian', and no run of that name; looked in " in ran
    assert "did you mean main? there are baselines: main; runs: " in ran


def test_a_reused_result_is_judged_by_todays_baseline(gated, asked):
    """Nothing is asked; the verdict changes with the baseline's file."""
    project = gated({"d": {"wrong": 40}})
    assert project.run("evals").code == 0
    save(project, "main")
    words = ("evals", "--eval-set", "gates.exact_match={max_drop: 0.05, baseline: main}")
    assert project.run(*words, ASKED=asked.file).code == 0
    lines = baseline(project, "main").read_text().splitlines(keepends=True)
    head = json.loads(lines[0])
    head["metrics"]["exact_match"]["value"] = 1.0
    better = [json.dumps(head) + "\n", *(line.replace("[0.0]", "[1.0]") for line in lines[1:])]
    baseline(project, "main").write_text("".join(better))
    ran = project.run(*words, ASKED=asked.file)
    assert ran.counts == {"failed": 1}, ran
    assert gate_of(project)["lost"] == 40
    assert asked() == []
    baseline(project, "main").write_text("".join(lines))
    assert project.run(*words, ASKED=asked.file).counts == {"passed": 1}
    assert asked() == []


def damage(lines):
    lines[7] = lines[7][:9] + "\n"


def shorten(lines):
    del lines[100:]


def empty(lines):
    lines.clear()


def other_references(lines):
    lines[1:51] = [line.replace(line.split('"')[3], "0" * 12) for line in lines[1:51]]


def other_metric(lines):
    head = json.loads(lines[0])
    head["scoring"]["metrics"]["exact_match"]["version"] = 7
    lines[0] = json.dumps(head) + "\n"


def no_number(lines):
    lines[3] = lines[3].replace("[1.0]", "[NaN]")


def gone(lines):
    raise FileNotFoundError


FAULTS = {
    "damaged": (damage, "d.jsonl:8: found "),
    "cut off": (shorten, "the file ends after 99 of 200 samples"),
    "empty": (empty, "d.jsonl:1: the file is empty"),
    "other references": (other_references, "50"),
    "other metric": (other_metric, "version"),
    "no number": (no_number, "d.jsonl:4: "),
    "no such pair": (gone, "has no echo/a/d; it has: echo/a/e"),
}


def test_a_fault_in_one_baseline_hurts_no_other_pair(gated, asked):
    """Each is its pair's ERROR with file and line or what differs; what was scored stays, and is judged once mended."""
    project = gated({"d": {}, "e": {}}, gates=GATES)
    project.run("evals")
    save(project, "main", "d", "e")
    sound = baseline(project, "main").read_text()
    for name, (spoil, message) in FAULTS.items():
        lines = sound.splitlines(keepends=True)
        try:
            spoil(lines)
            baseline(project, "main").write_text("".join(lines))
        except FileNotFoundError:
            baseline(project, "main").unlink()
        ran = project.run("evals", ASKED=asked.file)
        assert ran.counts == {"passed": 1, "error": 1}, (name, ran)
        assert "gate on exact_match: " in ran, name
        assert message in ran, (name, ran)
        assert "Traceback" not in ran, name
        assert project.result("a", "d")["metrics"], name
    baseline(project, "main").write_text(sound)
    assert project.run("evals", ASKED=asked.file).counts == {"passed": 2}
    assert asked() == []


def test_an_advisory_gate_fails_nothing_without_its_baseline_either(gated):
    """It is told why nothing can be said of it, wherever gates are told."""
    project = gated({"d": {}}, gates={"exact_match": GATES["exact_match"] | {"tier": "advisory"}})
    ran = project.run("evals")
    assert ran.counts == {"passed": 1}, ran
    gate = gate_of(project)
    assert (gate["verdict"], gate["holds"], gate["by"]) == ("INCONCLUSIVE", True, 0)
    assert gate["why"].startswith("no baseline 'main', and no run of that name; looked in ")
    code, told, errors = project.evalrun("show", "echo/a/d")
    assert (code, errors) == (0, "")
    assert "no baseline 'main'" in " ".join(told.split())


def test_two_baselines_of_one_name(gated):
    """Both files are named: nobody can say which is meant."""
    project = gated({"d": {}}, gates=GATES)
    project.run("evals")
    save(project, "main")
    shutil.copytree(project.root / "baselines", project.suite / "baselines")
    ran = project.run("evals")
    assert ran.counts == {"error": 1}, ran
    assert "there are two of it: " in ran
    assert "baselines/main/echo/a/d.jsonl and " in ran


def test_the_run_itself_is_no_baseline(gated):
    """By name or by path it would be compared with itself."""
    project = gated({"d": {}})
    project.run("evals")
    for name in (project.latest.name, f"../../outputs/default/{project.latest.name}"):
        ran = project.run("evals", "--eval-set", f"gates.exact_match={{max_drop: 0, baseline: '{name}'}}")
        assert f"the baseline {name} is the very run that is judged" in ran


def test_a_run_by_its_path(evaluated_before):
    """Relative to the suite; one that is none is told with where was looked."""
    project = evaluated_before({"d": {"wrong": 40}})
    project.run("evals")
    path = "../../outputs/default/before"
    ran = project.run("evals", "--eval-set", f"gates.exact_match={{max_drop: 0.05, baseline: {path}}}")
    assert ran.counts == {"failed": 1}, ran
    assert gate_of(project)["baseline"] == path
    ran = project.run("evals", "--eval-set", "gates.exact_match={max_drop: 0.05, baseline: ./nowhere}")
    assert "the baseline ./nowhere is no run: " in ran


def test_first_samples_against_a_baseline_of_all(evaluated_before):
    """A limited evaluation is compared over its own samples; what the baseline knows of others is not missing."""
    project = evaluated_before({"d": {"wrong": 40}}, gates={"exact_match": DROP})
    ran = project.run("evals", "--eval-limit", "100")
    assert ran.counts == {"failed": 1}, ran
    (gate,) = project.result("a", "d.limit-100")["gates"]
    assert (gate["n"], gate["lost"], gate["before"], gate["value"]) == (100, 40, 1.0, 0.6)
    assert gate["coverage"] == {"both": 100, "before": 0, "after": 0, "changed": 0}


def test_first_samples_against_as_many(evaluated_before):
    """Where the run that is the baseline has an evaluation of as many, that counts."""
    project = evaluated_before({"d": {"wrong": 40}}, gates={"exact_match": DROP})
    shutil.rmtree(project.workdir / "before")
    project.yaml(("a",), ("d",), max_batch_size=100)
    assert project.run("evals", "--eval-limit", "60").code == 0
    rename(project, "before")
    project.yaml(("a",), ("d",), max_batch_size=100, params={"wrong": 40}, gates={"exact_match": DROP})
    ran = project.run("evals", "--eval-limit", "60")
    assert project.result("a", "d.limit-60")["gates"][0]["n"] == 60, ran


def test_a_pair_of_shards_is_judged_as_a_whole(evaluated_before):
    """Its shards judge nothing."""
    project = evaluated_before({"d": {"wrong": 40}}, gates={"exact_match": DROP}, shards=4)
    ran = project.run("evals")
    assert ran.counts == {"passed": 4, "failed": 1}, ran
    assert (gate_of(project)["n"], gate_of(project)["lost"]) == (200, 40)


def test_inference_alone_judges_nothing(gated):
    """Neither where the baseline is missing; scoring what is there does."""
    project = gated({"d": {}}, gates=GATES)
    assert project.run("evals", "--eval-mode", "infer").counts == {"passed": 1}
    ran = project.run("evals", "--eval-mode", "eval")
    assert ran.counts == {"error": 1}, ran
    assert "no baseline 'main'" in ran


def test_bounds_by_the_interval(gated):
    """The near end must keep the limit; where only the value does, it is not sure."""
    rule = {"by": "interval", "when_unsure": "fail"}
    datasets = {
        "sure": {"wrong": 2, "gates": {"exact_match": {"min": 0.9} | rule}},
        "unsure": {"wrong": 15, "gates": {"exact_match": {"min": 0.9} | rule}},
        "value": {"wrong": 15, "gates": {"exact_match": {"min": 0.9} | rule | {"when_unsure": "value"}}},
        "bad": {"wrong": 60, "gates": {"exact_match": {"min": 0.9} | rule}},
        "high": {"wrong": 0, "gates": {"exact_match": {"max": 0.9} | rule}},
        "confident": {"wrong": 12, "gates": {"exact_match": {"min": 0.9} | rule | {"confidence": 0.5}}},
    }
    project = gated(datasets)
    ran = project.run("evals", COLUMNS="200")
    verdicts = {name: (gate_of(project, name)["verdict"], gate_of(project, name)["holds"]) for name in datasets}
    assert verdicts == {
        "sure": ("PASS", True),
        "unsure": ("INCONCLUSIVE", False),
        "value": ("INCONCLUSIVE", True),
        "bad": ("FAIL", False),
        "high": ("FAIL", False),
        "confident": ("PASS", True),
    }, ran
    low, high = gate_of(project, "unsure")["interval"]
    assert low < 0.9 < 0.925 < high
    assert f"::test_pair[a/unsure] - exact_match 0.925 > 0.9? ([{low:.4g}, {high:.4g}], n=200)" in ran


NO_HEAVY = """
import sys

def pytest_sessionfinish():
    ours = ("stats.difference", "stats.resampling", "evaluation.evidence", "comparison.pairing")
    print("heavy:", *(name for name in ("numpy", *(f"pytest_evalrun.{name}" for name in ours)) if name in sys.modules))
"""


def test_gates_of_values_alone_import_nothing_more(gated):
    """Of a thousand pairs with a plain gate none pays for intervals that others have."""
    project = gated({"d": {}}, gates={"exact_match": {"min": 0.9, "max_drop": 0.1, "baseline": 1.0}})
    (project.root / "conftest.py").write_text(NO_HEAVY)
    ran = project.run("evals", "-s")
    assert ran.code == 0, ran
    assert re.findall(r"heavy:.*", ran) == ["heavy:"]


def test_jobs_judge_by_a_run_of_the_work_directory(cluster, evaluated_before, batch):
    """A job has a work directory of its own; the baseline is looked for in that of its launch."""
    words = {"batch_system": batch.words()}
    project = evaluated_before({"d": {"wrong": 40}, "e": {}}, gates={"exact_match": DROP}, **words)
    ran = project.run("evals", "--eval-engine", "command", "--eval-jobs", "2")
    assert ran.counts == {"failed": 1, "passed": 1}, ran
    assert (gate_of(project)["verdict"], gate_of(project, "e")["verdict"]) == ("FAIL", "PASS")


def test_jobs_keep_what_they_cannot_judge(gated, batch, asked):
    """The launch takes in what was scored, and says what the job said; then the same command only judges."""
    project = gated({"d": {}}, gates=GATES, batch_system=batch.words())
    words = ("evals", "--eval-engine", "command", "--eval-jobs", "2")
    ran = project.run(*words, ASKED=asked.file)
    assert ran.counts == {"error": 1}, ran
    assert "`evalrun baseline save main` makes it of them" in ran
    assert project.result("a", "d")["metrics"]["exact_match"]["value"] == 1
    assert len(asked()) == 201
    save(project, "main")
    again = project.run(*words, ASKED=asked.file)
    assert again.counts == {"passed": 1}, again
    assert asked() == []


NARROW = {"exact_match": {"max_drop": 0.01, "baseline": "main", "tier": "critical"}}
CANNOT = "gate on exact_match: max_drop 0.01 against main is critical, and cannot PASS with 200 samples: it needs "


@pytest.fixture
def narrow(gated, asked):
    """A saved baseline; then, in another run, a critical gate that so few samples cannot keep."""

    def make(**top):
        project = gated({"d": {}})
        assert project.run("evals").code == 0
        assert project.evalrun("baseline", "save", "main")[0] == 0
        gated({"d": {"wrong": 1}}, gates=NARROW, **top)
        return project

    return make


def test_a_critical_gate_that_cannot_pass_costs_no_model(narrow, asked):
    """The ERROR says how many samples it takes and what may be done; a supporting one is judged as far as it goes."""
    project = narrow()
    ran = project.run("evals", ASKED=asked.file)
    assert ran.counts == {"error": 1}, ran
    assert re.search(re.escape(CANNOT) + r"38\d where nothing got better; the model was not asked; accepted: ", ran)
    assert asked() == []
    ran = project.run("evals", "--eval-set", "gates.exact_match.tier=supporting", ASKED=asked.file)
    assert ran.code == 0, ran
    assert len(asked()) == 201
    assert gate_of(project)["verdict"] == "INCONCLUSIVE"


def test_neither_do_its_shards(narrow, asked):
    """Each is told the same, for all samples of the pair."""
    project = narrow(shards=2)
    ran = project.run("evals", ASKED=asked.file)
    assert ran.counts == {"error": 3}, ran
    assert ran.count(CANNOT) >= 2
    assert asked() == []


def test_what_was_asked_before_is_judged_whatever_its_gate_can_see(narrow, asked):
    """Reused, scored again or inferred: only the time of a model that is still to be loaded is at stake."""
    project = narrow()
    project.run("evals", "--eval-mode", "infer", ASKED=asked.file)
    assert len(asked()) == 201
    for _ in range(2):
        ran = project.run("evals", ASKED=asked.file)
        assert ran.code == 0, ran
        assert asked() == []
        assert gate_of(project)["verdict"] == "INCONCLUSIVE"


def test_a_quick_look_is_not_held_against_a_critical_gate(narrow, asked):
    """Whoever tries ten samples knows that they prove nothing."""
    ran = narrow().run("evals", "--eval-limit", "10", ASKED=asked.file)
    assert "cannot PASS with" not in ran
    assert len(asked()) == 11


def test_a_critical_bound_that_cannot_be_proven(gated, asked):
    """As of a drop, once a result has told what scores may be."""
    project = gated({"d": {}}, samples=30)
    assert project.run("evals").code == 0
    gated({"d": {"wrong": 1}}, samples=30, gates={"exact_match": {"min": 0.9, "by": "interval", "tier": "critical"}})
    ran = project.run("evals", ASKED=asked.file)
    assert ran.counts == {"error": 1}, ran
    assert (
        "gate on exact_match: min 0.9 by its interval is critical, and cannot PASS with 30 samples: it needs 35" in ran
    )
    assert asked() == []
