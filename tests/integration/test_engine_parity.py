"""Whatever one does with pytest and this plugin comes out the same, be it here or as jobs on a batch system.

Each case is a project made twice, and some commands that are given in both; to those of one an engine is added.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from batchsystem import BatchSystem
from llmserver import llm_server
from support import Project

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINE = ("--eval-engine", "command", "--eval-jobs", "4")
JUNIT = "junit.xml"


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    with BatchSystem(tmp_path_factory.mktemp("system") / "batch") as system:
        yield system


@pytest.fixture
def twice(batch, tmp_path):
    """Make a project twice."""

    def make(build: Callable[[Project], None]) -> Twice:
        return Twice(batch, tmp_path, build)

    return make


class Twice:
    """The same project with an engine and without; ``gives`` runs a command in both, and they must agree."""

    def __init__(self, batch: BatchSystem, place: Path, build: Callable[[Project], None]) -> None:
        self.batch = batch
        self.here, self.there = Project(place / "here_"), Project(place / "there")
        for project in (self.here, self.there):
            build(project)
            for file in project.root.rglob("evalrun.yaml"):
                content = json.loads(file.read_text())
                file.write_text(json.dumps(content | {"batch_system": batch.words()}, ensure_ascii=False))

    def gives(self, *words: str, engine: tuple[str, ...] = ENGINE, **env: str) -> tuple[Any, Any]:
        before = len(self.batch.jobs())
        here = self.here.run(*words, f"--junitxml={JUNIT}", **env)
        there = self.there.run(*words, *engine, f"--junitxml={JUNIT}", **env)
        self.jobs = self.batch.jobs()[before:]
        self.batch.wait(lambda jobs: all(job.is_over for job in jobs))
        mine, its = seen(self.here, here), seen(self.there, there)
        for what in mine.keys() | its.keys():
            assert its.get(what) == mine.get(what), f"{what}\n{there}\n{here}"
        return here, there


def seen(project: Project, ran: Any) -> dict[str, Any]:
    """All that is to agree, by what it is."""
    told = {"exit code": ran.code, "counts": ran.counts, "short summary": sorted(short(ran.output))}
    told["junit"] = junit(project.root / JUNIT)
    for run in sorted(project.root.glob("*/*/run.json")) + sorted(project.root.glob("*/*/*/run.json")):
        told |= {f"{what} {run.parent.parent.name}": found for what, found in of_run(run.parent).items()}
    return told


def plain(text: str) -> str:
    """Without what differs from process to process."""
    text = re.sub(r"here_|there", "ROOT", text)
    text = re.sub(r"\d{8}_\d{6}(_\d+)?", "RUN", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    return re.sub(r"\b\d+(\.\d+)?( ?m?s| min)\b", "SECONDS", text)


def short(output: str) -> list[str]:
    return [plain(line) for line in output.splitlines() if re.match(r"(FAILED|ERROR|SKIPPED|XFAIL|XPASS) ", line)]


def junit(file: Path) -> Any:
    if not file.exists():
        return None
    suite = ET.parse(file).getroot()[0]
    cases = []
    for case in suite.iter("testcase"):
        parts = [(part.tag, plain(part.get("message") or ""), properties(part)) for part in case]
        cases.append((case.get("classname"), case.get("name"), parts))
    totals = {name: suite.get(name) for name in ("errors", "failures", "skipped", "tests")}
    file.unlink()
    return totals, sorted(cases)


def properties(part: ET.Element) -> list[tuple[str, str]]:
    named = [(entry.get("name", ""), plain(entry.get("value", ""))) for entry in part.iter("property")]
    return sorted((name, value) for name, value in named if not re.search("seconds|worker|time", name))


def of_run(run: Path) -> dict[str, Any]:
    told: dict[str, Any] = {}
    summary = run / "summary" / "summary.csv"
    if summary.exists():
        rows = csv.DictReader(summary.read_text().splitlines())
        told["summary.csv"] = [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
    for name in (".task_list", "failed_tasks.txt"):
        told[name] = plain((run / name).read_text()) if (run / name).exists() else None
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    told["events"] = Counter(sorted(kind_of(event) for event in events if event["pair"]))
    told["files"] = sorted(files(run))
    history = run.parent / "history.jsonl"
    lines = history.read_text().splitlines() if history.exists() else []
    told["history"] = Counter(json.loads(line)["pair"] for line in lines)
    return told


def kind_of(event: dict[str, Any]) -> tuple[str, str]:
    """Which pair of a model is the first depends on who runs it; how often it was loaded must not."""
    kind, pair = event["event"], event["pair"]
    return kind, "/".join(pair.split("/")[:2]) if kind in ("model_loaded", "model_closed") else pair


TIMES = {"seconds", "p50", "p95", "throughput"}
OF_THE_PROCESS = re.compile(
    r"^(engine|events|processes|costs)/|\.lock$|\.(main|running)_pids?$|^logs/(worker|gw|main)|^summary/|\.pids?$"
)


def files(run: Path) -> list[str]:
    names = [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()]
    return [plain(name) for name in names if not OF_THE_PROCESS.search(name)]


# ------------------------------------------------------------------ projects

MODEL = """
import os, signal, time

class Model:
    def __init__(self, path, how=""):
        self.how = how

    def predict(self, batch):
        bad = any(sample.input == 5 for sample in batch)
        if bad and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            time.sleep(1000)
        if self.how == "none" or (bad and self.how == "some"):
            raise ValueError("not this one")
        return [sample.input for sample in batch]
"""


def models(*hows: str, **top: Any) -> Callable[[Project], None]:
    """Models that end in a way of their own, over two datasets."""

    def make(project: Project) -> None:
        entries = [{"name": how or "ok", "path": "a.bin", "params": {"how": how}} for how in hows]
        project.make(models=("a",), datasets=("one", "two"))
        project.yaml((), ("one", "two"), models=entries, **top)
        (project.suite / "model.py").write_text(MODEL)

    return make


def matrix(**words: Any) -> Callable[[Project], None]:
    return lambda project: project.make(**words) and None


def gated(project: Project) -> None:
    """Two models over three datasets, one of which breaches the gate."""
    project.make(models=("a", "b"), datasets=("one", "two", "bad"), gates={"exact_match": {"min": 0.9}})
    project.dataset("bad", 8, wrong=3)


PROGRAM = """
import csv, sys

low, high, data, out = sys.argv[1:]
with open(data, newline="") as file:
    rows = [row for row in csv.DictReader(file) if int(low) <= int(row["data_id"]) < int(high)]
with open(f"{out}/generation_{low}_to_{high}.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["data_id", "answer"])
    table.writerows([row["data_id"], int(row["x"]) * 2] for row in rows)
"""


def program(project: Project) -> None:
    """A program that is given a range, and writes a table of it."""
    project.make(models=(), datasets=())
    (project.suite / "program.py").write_text(PROGRAM)
    rows = "".join(f"{i},{i},{2 * i}\n" for i in range(20))
    (project.suite / "d.csv").write_text(f"data_id,x,y\n{rows}")
    project.yaml(
        (),
        (),
        adapter="command",
        command=[sys.executable, "program.py", "{low}", "{high}", "{dataset}", "{output}"],
        results={"csv": "generation_{low}_to_{high}.csv", "prediction": "answer"},
        id_column="data_id",
        models=[{"name": "m"}],
        datasets=[{"name": "d", "path": "d.csv", "format": "csv"}],
    )


# ------------------------------------------------------------------ the cases


@pytest.mark.parametrize("words", [(), ("--eval-shards", "3")], ids=["whole", "shards"])
def test_programs(twice, words):
    """What programs wrote is merged, and their ranges name the files of the run."""
    pair = twice(program)
    pair.gives("evals", *words)
    assert pair.jobs
    run = pair.there.latest
    merged = run / "summary" / "echo_m_d_merged.csv"
    assert merged.read_bytes() == (pair.here.latest / "summary" / "echo_m_d_merged.csv").read_bytes()
    named = [
        name for file in run.glob("shards/**/worker_args_*.json") for name in json.loads(file.read_text())["files"]
    ]
    assert named
    assert all(Path(name).is_file() and Path(name).is_relative_to(run / "outputs") for name in named)


def test_failures(twice):
    """Of pairs that come to no result there is all that there is without an engine, too."""
    pair = twice(models("none", "some", ""))
    pair.gives("evals")
    pair.gives("evals", "--eval-only", "failed", "--eval-set", "max_failed=2")


def test_fresh_after_a_launch_that_was_cut_off(twice, tmp_path):
    """What jobs of an earlier launch have predicted is no more fresh than what lies in the run."""
    project = twice(gated).there
    assert project.run("evals", *ENGINE, "-x").code == 1
    asked = tmp_path / "asked"
    assert project.run("evals", *ENGINE, "--eval-fresh", ASKED=str(asked)).code == 1
    assert Counter(asked.read_text().split()) == dict.fromkeys(map(str, range(8)), 6)


def test_stepwise(twice, all_of_pytest):
    """It goes on at the first item that failed or did not run, in whatever order jobs have ended."""
    pair = twice(gated)
    project = pair.there
    project.command = lambda *words: [sys.executable, "-m", "pytest", *words]  # with its cache
    for name in ("one", "bad"):
        project.dataset(name, 8, wrong=3)
    assert project.run("evals", *ENGINE, "--sw").code == 2
    cached = json.loads((project.root / ".pytest_cache" / "v" / "cache" / "stepwise").read_text())
    assert cached["last_failed"] == "evals/echo/evalrun.yaml::test_pair[a/one]"
    for name in ("one", "bad"):
        project.dataset(name, 8)
    again = project.run("evals", *ENGINE, "--sw")
    assert again.code == 0, again
    assert again.counts == {"passed": 6}


def test_reset_and_clean(twice, tmp_path):
    """What jobs have left of a pair is forgotten with it, and goes with the run."""
    project = twice(gated).there
    assert project.run("evals", *ENGINE, "-x").code == 1
    code, told, _ = project.evalrun("reset", answer="y\n")
    assert code == 0, told
    asked = tmp_path / "asked"
    assert project.run("evals", *ENGINE, ASKED=str(asked)).code == 1
    assert Counter(asked.read_text().split()) == dict.fromkeys(map(str, range(8)), 6)
    code, *told = project.evalrun("clean", "latest", "--yes")
    assert code == 0, told
    assert not project.workdir.exists()


def test_judges(twice):
    """Predictions come from jobs, judges are asked here; a pair ends once."""
    with llm_server("--canned", "GRADE: 1") as server:
        model = {"model": "ngram", "base_url": server.url, "concurrency": 4}
        judge = {"name": "good", "model": model, "template": "Is {{ prediction }} right? {{ scale }}"}
        pair = twice(matrix(metrics=[{"judge": judge}, "exact_match"]))
        for project in (pair.here, pair.there):
            assert project.run("evals", *(ENGINE if project is pair.there else ())).code == 0
        assert server.stats()["answered"] == 16
    finished = [Counter(event["event"] for event in p.events())["item_finished"] for p in (pair.here, pair.there)]
    assert finished == [1, 1]
    assert pair.batch.jobs()
    assert pair.there.result("a", "one")["metrics"] == pair.here.result("a", "one")["metrics"]


@pytest.mark.parametrize(
    "commands",
    [
        [("evals",), ("evals", "--eval-only", "failed"), ("evals", "--eval-fresh", "-k", "bad")],
        [("evals", "--eval-mode", "infer"), ("evals", "--eval-mode", "eval")],
        [("evals", "--eval-shards", "3", "-q")],
        [("evals", "--eval-limit", "4", "--eval-workdir", "elsewhere/runs"), ("evals", "-k", "nothing")],
    ],
    ids=["all of it", "stages", "shards", "first samples"],
)
def test_commands(twice, commands):
    """Outcomes, tables, JUnit, states, events and files are the same, whatever is asked for."""
    pair = twice(gated)
    for words in commands:
        pair.gives(*words)
    assert pair.batch.jobs()
