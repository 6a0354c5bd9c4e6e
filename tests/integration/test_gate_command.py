"""``evalrun gate`` over real runs: what a script learns by the exit code, and what people read."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from support import EVALRUN

# Wrong in every so many samples; 0 is never.
NUMBERS = """
class Model:
    def __init__(self, path=None):
        self.every = int(open(path).read())

    def predict(self, batch):
        return [-1 if self.every and sample.input % self.every == 0 else sample.input for sample in batch]
"""
SAMPLES = 400
# Model a of each run; b is never wrong, but in the last.
RUNS = {"base": (10, 0), "equal": (10, 0), "better": (40, 0), "slight": (9, 0), "worse": (5, 0), "both": (5, 5)}
POLICY = "gates: {exact_match: {max_drop: 0.02}}\n"


class Compared:
    """A project with a run of each kind, and one saved as a baseline."""

    def __init__(self, project):
        self.project = project
        words = {"adapter": "./numbers.py:Model", "metrics": ["exact_match", "includes"]}
        project.make(["a", "b"], samples=SAMPLES, **words)
        (project.suite / "numbers.py").write_text(NUMBERS)
        (project.root / "policy.yaml").write_text(POLICY)
        self.runs = {name: self.run(*weights) for name, weights in RUNS.items()}
        self.runs["half"] = self.run(10, 0, "-k", "a/one")
        project.yaml(["a", "b"], ["one"], **words | {"metrics": ["includes"]})
        self.runs["fewer"] = self.run(10, 0)
        code, _, errors = project.evalrun("baseline", "save", "main", self.runs["base"])
        assert code == 0, errors
        self.runs["main"] = "main"

    def run(self, a, b, *arguments):
        for name, every in {"a": a, "b": b}.items():
            (self.project.suite / f"{name}.bin").write_text(str(every))
        ran = self.project.run("-q", "evals", "--eval-run", "new", *arguments)
        assert ran.code == 0, ran
        return self.project.latest.name

    def gate(self, base, candidate, *arguments):
        return self.project.evalrun("gate", self.runs.get(base, base), self.runs.get(candidate, candidate), *arguments)

    @property
    def baseline(self):
        return self.project.root / "baselines" / "main" / "echo" / "a" / "one.jsonl"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    from support import Project

    return Compared(Project(tmp_path_factory.mktemp("gate") / "project"))


CASES = {
    "better": ("base", "better", 0, "GO: all 2 gates pass"),
    "equal": ("base", "equal", 0, "GO: all 2 gates pass"),
    "slightly worse": ("base", "slight", 2, "INCONCLUSIVE: 1 gate undecided; 1 PASS"),
    "worse": ("base", "worse", 1, "NO-GO: 1 of 2 gates past what is allowed; 1 PASS"),
    "both worse": ("base", "both", 1, "NO-GO: 2 of 2 gates past what is allowed; 0 PASS"),
    "a missing pair": ("base", "half", 1, "NO-GO: 1 gate of 1 pair missing; 1 PASS"),
    "a metric gone": ("base", "fewer", 1, "NO-GO: 2 gates of 2 pairs missing; 0 PASS"),
    "a saved baseline": ("main", "equal", 0, "GO: all 2 gates pass"),
    "worse than a saved one": ("main", "worse", 1, "NO-GO: 1 of 2 gates past what is allowed; 1 PASS"),
    "a baseline as candidate": ("better", "main", 1, "NO-GO: 1 of 2 gates past what is allowed; 1 PASS"),
}


@pytest.mark.parametrize(("base", "candidate", "code", "line"), CASES.values(), ids=CASES)
def test_the_exit_code_is_the_decision(compared, base, candidate, code, line):
    """And the first line says it in words; nothing that is missing is ever a GO."""
    found, output, errors = compared.gate(base, candidate, "--policy", "policy.yaml")
    assert (found, output.splitlines()[0]) == (code, line), errors


def test_a_process_of_its_own_ends_with_it(compared):
    """As a script sees it."""
    command = [*EVALRUN, "gate", "--policy", "policy.yaml"]
    codes = [
        subprocess.run([*command, compared.runs["base"], compared.runs[name]], cwd=compared.project.root).returncode
        for name in ("equal", "worse", "slight")
    ]
    assert codes == [0, 1, 2]


def test_who_stops_reading_changes_no_decision(compared):
    """``evalrun gate … | head -1`` in a shell that minds how each of them ends."""
    reader, writer = os.pipe()
    os.close(reader)
    words = ["gate", "--policy", "policy.yaml", compared.runs["base"], compared.runs["slight"]]
    try:
        ran = subprocess.run([*EVALRUN, *words], cwd=compared.project.root, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (ran.returncode, ran.stderr) == (2, b"")


BROKEN = {
    "no run of that name": (["base", "nope"], "run nope: not found"),
    "no word for a candidate": (["base"], "Missing argument"),
    "an unknown option": (["base", "equal", "--polcy", "x"], "No such option"),
    "the same run twice": (["base", "base", "--policy", "policy.yaml"], "one and the same"),
    "no policy of that name": (["base", "equal", "--policy", "gone.yaml"], "gone.yaml: cannot be read"),
    "nothing to judge": (["base", "equal"], "no gate was judged; give --policy FILE, or set max_drop in the suites"),
    "nothing of a policy": (
        ["base", "equal", "--policy", "policy.yaml", "-k", "nobody"],
        "accepted: a policy with a gate of the tier critical or supporting for one of these pairs",
    ),
    "nothing is left": (["base", "equal", "--policy", "policy.yaml", "-k", "nobody"], "no gate was judged"),
    "an odd expression": (["base", "equal", "-k", "("], "-k ("),
    "no place to write to": (["base", "equal", "--policy", "policy.yaml", "--markdown", "/dev/null"], "no plain file"),
}


@pytest.mark.parametrize(("words", "text"), BROKEN.values(), ids=BROKEN)
def test_what_goes_wrong_is_no_decision(compared, words, text):
    """Neither 1 nor 2: to a script these are answers."""
    named = [compared.runs.get(word, word) for word in words]
    code, output, errors = compared.project.evalrun("gate", *named)
    assert code == 3
    assert text in output + errors


POLICIES = {
    "an unknown word": ("gates:\n  exact_match: {max_dropp: 0.02}\n", "policy.yaml:2: ", "did you mean 'max_drop'"),
    "an unknown part": ("gates: {exact_match: {min: 0}}\noverides: []\n", "policy.yaml:2: overides", "'overrides'"),
    "a metric of nobody": ("gates:\n  exact: {max_drop: 1%}\n", "policy.yaml:2: gates.exact: no pair", "exact_match"),
    "a pattern for nobody": (
        "gates: {exact_match: {min: 0}}\noverrides:\n- {match: '*/noisy', gates: {exact_match: {min: 1}}}\n",
        *("policy.yaml:3: overrides[0].match", "one of echo/a/one, echo/b/one"),
    ),
    "a baseline of its own": ("gates: {exact_match: {max_drop: 1, baseline: main}}", "policy.yaml:1", "BASE"),
    "a condition of nothing": ("gates: {exact_match: {tier: critical}}", "policy.yaml:1", "min, max, max_drop"),
    "no gates": ("gate_rules: {confidence: 0.9}", "policy.yaml:1", "no gates"),
    "clusters": ("gates: {exact_match: {min: 0}}\ngate_rules: {cluster: x}", "policy.yaml:2", "the suite's gate_rules"),
    "no YAML": ("gates: [", "policy.yaml:", "not YAML"),
}


@pytest.mark.parametrize(("policy", "place", "accepted"), POLICIES.values(), ids=POLICIES)
def test_a_policy_that_is_wrong_is_no_decision(compared, tmp_path, policy, place, accepted):
    """File, line, and what is accepted; a slip of the pen never judges less than was meant."""
    (tmp_path / "policy.yaml").write_text(policy)
    code, output, _ = compared.gate("base", "equal", "--policy", str(tmp_path / "policy.yaml"))
    assert (code, output.startswith("BROKE: ")) == (3, True)
    assert place in output
    assert accepted in output


FAULT = "def fault(prediction, reference):\n    return float(prediction != reference)\n\nfault.better = 'lower'\n"


def test_of_what_should_be_low_a_drop_is_a_rise(project, tmp_path):
    """In every sign that a person reads: value, change and interval go up, and alarms with them."""
    project.make(["a"], samples=SAMPLES, adapter="./numbers.py:Model", metrics=["./fault.py:fault"])
    (project.suite / "numbers.py").write_text(NUMBERS)
    (project.suite / "fault.py").write_text(FAULT + "fault.bounds = (0, 1)\n")
    runs = []
    for every in (20, 10):
        (project.suite / "a.bin").write_text(str(every))
        assert project.run("-q", "evals", "--eval-run", "new").code == 0
        runs.append(project.latest.name)
    policy = tmp_path / "policy.yaml"
    policy.write_text("gates: {fault: {max_drop: 0.02}}")
    code, output, _ = project.evalrun("gate", *runs, "--policy", str(policy), "--markdown", "page.md")
    assert code == 1
    assert "+0.05 [+0.0326, +0.076]" in output
    assert "a/one fault +0.05 against" in output
    assert r"| 0.05000 | 0.1000 | +0.05 \[+0.0326, +0.076\] |" in (project.root / "page.md").read_text()
    assert "lost 20: 10, 30, 50" in (project.root / "page.md").read_text()
    assert project.evalrun("gate", *reversed(runs), "--policy", str(policy))[0] == 0


def test_overrides_and_tiers(compared, tmp_path):
    """What fits a pair comes before what holds for all; what is advisory is told, and decides nothing."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY + "overrides:\n- {match: 'a/*', gates: {exact_match: {max_drop: 20%}}}\n")
    assert compared.gate("base", "worse", "--policy", str(policy))[0] == 0
    assert compared.gate("base", "both", "--policy", str(policy))[0] == 1
    policy.write_text(POLICY + "overrides:\n- {match: echo/a/one, gate_rules: {tier: advisory}}\n")
    code, output, _ = compared.gate("base", "worse", "--policy", str(policy))
    assert (code, output.splitlines()[0]) == (0, "GO: the only gate passes; 1 advisory gate past what is allowed")
    policy.write_text("gates: {exact_match: {max_drop: 0.02, tier: advisory}}")
    code, output, _ = compared.gate("base", "worse", "--policy", str(policy))
    assert code == 3
    assert "2 gates here, all advisory" in output


def test_bounds_are_judged_too(compared, tmp_path):
    """Of the candidate's value, or of its interval; a policy may let pass what is undecided."""
    policy = tmp_path / "policy.yaml"
    codes = {}
    for name, words in {
        "kept": "min: 0.75",
        "missed": "min: 0.85",
        "by interval": "min: 0.75, by: interval",
        "open": "min: 0.79, by: interval",
        "let pass": "min: 0.79, by: interval, when_unsure: pass",
    }.items():
        policy.write_text(f"gates: {{exact_match: {{{words}}}}}")
        codes[name] = compared.gate("base", "worse", "-k", "a", "--policy", str(policy))[0]
    assert codes == {"kept": 0, "missed": 1, "by interval": 0, "open": 2, "let pass": 0}


def test_without_a_policy_the_suites_say_what_holds(compared):
    """Their gates about a drop, measured from BASE whatever their own baseline is."""
    project = compared.project
    before = (project.suite / "evalrun.yaml").read_text()
    suite = json.loads(before) | {"gates": {"exact_match": {"max_drop": 0.02, "baseline": 0.5, "min": 0.99}}}
    (project.suite / "evalrun.yaml").write_text(json.dumps(suite | {"metrics": ["exact_match"]}))
    try:
        codes = {name: compared.gate("main", name)[0] for name in ("equal", "slight", "worse", "half")}
        assert codes == {"equal": 0, "slight": 2, "worse": 1, "half": 1}
        code, output, _ = compared.gate("main", "fewer")
        assert (code, output.splitlines()[0]) == (1, "NO-GO: 2 gates of 2 pairs missing; 0 PASS")
    finally:
        (project.suite / "evalrun.yaml").write_text(before)


def test_a_pair_that_left_its_suite_is_missing(compared):
    """Nobody knows its gates any more, and the base has it; one that only the candidate has is told."""
    project = compared.project
    before = (project.suite / "evalrun.yaml").read_text()
    suite = json.loads(before) | {"gates": {"exact_match": {"max_drop": 0.02, "baseline": 0.5}}}
    suite |= {"metrics": ["exact_match"], "models": [{"name": "a", "path": "a.bin"}]}
    (project.suite / "evalrun.yaml").write_text(json.dumps(suite))
    try:
        code, output, _ = compared.gate("main", "equal")
        assert (code, output.splitlines()[0]) == (1, "NO-GO: 1 gate of 1 pair missing; 1 PASS")
        assert "its suite no longer has it" in output
    finally:
        (project.suite / "evalrun.yaml").write_text(before)
    code, _, errors = compared.gate("half", "equal", "--policy", "policy.yaml")
    assert code == 0
    assert "1 pair only in" in errors
    assert "and not judged: echo/b/one" in errors


def test_the_page_has_the_verdict_first(compared, tmp_path):
    """Then what decides, with intervals, methods, flips by their ids, alarms and the policy."""
    page = tmp_path / "page.md"
    assert compared.gate("main", "worse", "--policy", "policy.yaml", "--markdown", str(page))[0] == 1
    text = page.read_text()
    assert text.startswith("# NO-GO: 1 of 2 gates past what is allowed; 1 PASS\n")
    rows = [line for line in text.splitlines() if line.startswith(("| FAIL", "| PASS"))]
    assert rows[0].startswith(r"| FAIL | echo/a/one | exact_match | 0.9000 | 0.8000 | -0.1 \[")
    assert "n=400, discordance 0.1, 40 lost, 0 won" in rows[0]
    assert rows[1].startswith("| PASS | echo/b/one")
    assert "- echo/a/one exact_match: lost 40: 5, 15, 25" in text
    assert "## Alarms" in text
    assert "- exact_match: max_drop 0.02 at 95 %, of 2 pairs" in text


def test_programs_read_json(compared):
    """The decision, and each gate as results have them."""
    code, output, _ = compared.gate("base", "slight", "--policy", "policy.yaml", "--json")
    found = json.loads(output)
    assert (code, found["code"], found["verdict"], found["policy"]) == (2, 2, "INCONCLUSIVE", "policy.yaml")
    first, second = found["gates"]
    assert (first["pair"], first["verdict"], first["lost"], first["won"]) == ("echo/a/one", "INCONCLUSIVE", 40, 35)
    assert second["verdict"] == "PASS"
    code, output, _ = compared.gate("base", "nope", "--json")
    assert (code, json.loads(output)["verdict"]) == (3, "BROKE")


@pytest.mark.parametrize("damage", ["torn", "empty", "no head"])
def test_a_damaged_baseline_is_no_decision(compared, tmp_path, damage):
    """It is named with its line; and a page that told of an earlier decision tells of this one."""
    before = compared.baseline.read_text()
    lines = before.splitlines(keepends=True)
    found = {"torn": "".join(lines[:50]) + lines[50][:3], "empty": "", "no head": "".join(lines[1:])}
    page = tmp_path / "page.md"
    page.write_text("# GO")
    compared.baseline.write_text(found[damage])
    try:
        code, output, _ = compared.gate("main", "equal", "--policy", "policy.yaml", "--markdown", str(page))
    finally:
        compared.baseline.write_text(before)
    assert (code, output.partition(":")[0]) == (3, "BROKE")
    assert "one.jsonl" in output
    assert page.read_text().startswith("# BROKE")


def test_a_copied_baseline_is_of_the_pair_in_whose_place_it_lies(compared):
    """As a gate of the suite finds it: b is never wrong in ``equal``, a is in each tenth; and a's own stays a's."""
    place = compared.baseline.parents[1] / "b" / "one.jsonl"
    own = place.read_bytes()
    place.write_bytes(compared.baseline.read_bytes())
    try:
        code, told, _ = compared.gate("main", "equal", "--json", "--policy", "policy.yaml")
    finally:
        place.write_bytes(own)
    assert code == 0
    gates = {gate["pair"]: gate for gate in json.loads(told)["gates"]}
    assert gates["echo/a/one"]["before"] == gates["echo/b/one"]["before"] == 0.9
    assert (gates["echo/a/one"]["value"], gates["echo/b/one"]["value"]) == (0.9, 1.0)


def test_other_references_are_no_comparison(compared):
    """The candidate was scored against other labels: how many, and the first by their ids."""
    project = compared.project
    before = (project.suite / "one.jsonl").read_text()
    project.dataset("one", SAMPLES, wrong=40)
    try:
        name = compared.run(10, 0)
    finally:
        (project.suite / "one.jsonl").write_text(before)
    policy = project.root / "includes.yaml"
    policy.write_text("gates: {includes: {max_drop: 0.02}}")
    code, output, _ = compared.gate("main", name, "--policy", str(policy))
    assert (code, output.splitlines()[0]) == (3, "BROKE: 2 gates that could not be judged; 0 PASS")
    assert "40 " in output
