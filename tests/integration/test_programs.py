"""Programs in real runs: shards and Ctrl-C, workers that are killed, limits, scripts, what people see."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.support import Project, wait_for

EVALS = Path(__file__).parents[2] / "evals"

# Doubles; logs each id that it is asked. While the file `hold` names is there, it stops in the middle of its range.
WORKER = """
import argparse, csv, os, time

parser = argparse.ArgumentParser()
for name in ("--low", "--high", "--input", "--out"):
    parser.add_argument(name)
asked = parser.parse_args()
low, high = int(asked.low), int(asked.high)
with open(asked.input, newline="") as file:
    rows = [row for row in csv.DictReader(file) if low <= int(row["data_id"]) < high]
with open(f"{asked.out}/generation_{low}_to_{high}.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["data_id", "answer"])
    for place, row in enumerate(rows):
        if place == len(rows) // 2 and low >= 100:
            while os.path.exists("hold"):
                time.sleep(0.01)
        with open("asked.txt", "a") as log:
            log.write(row["data_id"] + "\\n")
        for copy in range(COPIES):
            table.writerow([row["data_id"], int(row["x"]) * 2])
        file.flush()
print("done", low, high)
"""
COMMAND = [sys.executable, "worker.py", "--low", "{low}", "--high", "{high}", "--input", "{dataset}"]
COMMAND += ["--out", "{output}"]


class Programs(Project):
    def make_worker(self, copies="1", **top) -> Programs:
        self.suite.mkdir(parents=True)
        (self.root / "pytest.ini").write_text("[pytest]\n")
        (self.suite / "worker.py").write_text(WORKER.replace("COPIES", copies))
        rows = "".join(f"{i},{i},{2 * i}\n" for i in range(200))
        (self.suite / "d.csv").write_text(f"data_id,x,y\n{rows}")
        values = {
            "adapter": "command",
            "command": COMMAND,
            "results": {"csv": "generation_{low}_to_{high}.csv", "prediction": "answer"},
            "models": [{"name": "m"}],
            "datasets": [{"name": "d", "path": "d.csv", "format": "csv"}],
            "id_column": "data_id",
            "inputs": ["x"],
            "reference": "y",
            "metrics": ["exact_match"],
        }
        (self.suite / "evalrun.yaml").write_text(json.dumps(values | top))
        return self

    def asked(self) -> list[int]:
        log = self.suite / "asked.txt"
        found = [int(line) for line in log.read_text().split()] if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def records(self) -> list[dict]:
        directory = self.latest / "shards" / "echo" / "m" / "d"
        return [json.loads(path.read_text()) for path in directory.glob("worker_args_*.json")]


@pytest.fixture
def project(tmp_path):
    return Programs(tmp_path)


def values(project):
    return [(line["id"], line["prediction"]) for line in project.predictions("m", "d")]


@pytest.mark.parametrize("how", ["one", "any"])
def test_ctrl_c_then_other_shards(project, how):
    """Interrupted with 4 shards and carried on with 8: nothing that was finished is asked again, nothing is lost."""
    one = how == "one"
    project.make_worker("1" if one else "int(row['data_id']) % 3", rows=how, metrics=["exact_match"] if one else [])
    (project.suite / "hold").touch()
    process = project.start("evals", "-n", "2", "--eval-shards", "4")
    log = project.suite / "asked.txt"
    wait_for(lambda: log.exists() and len(log.read_text().split()) == 150, process=process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    first = project.asked()
    states = {(record["low"], record["high"]): record["status"] for record in project.records()}
    assert states == {(0, 50): "completed", (50, 100): "completed", (100, 150): "pending", (150, 200): "pending"}
    (project.suite / "hold").unlink()
    ran = project.run("evals", "-n", "2", "--eval-shards", "8")
    assert ran.code == 0, ran
    second = project.asked()
    # Of the interrupted ranges complete rows are kept, but for the batch at hand; with any number of rows, none.
    assert not {*second} & ({*first} if one else set(range(100)))
    assert sorted({*first, *second}) == list(range(200))
    expected = [(str(i), f"{2 * i}" if one else [f"{2 * i}"] * (i % 3)) for i in range(200)]
    assert values(project) == expected
    assert project.run("evals", "--eval-shards", "3").code == 0
    assert project.asked() == []


def test_nothing_outlives_a_killed_worker(project):
    """The programs of a worker that is killed with SIGKILL end at once, and another one carries on."""
    project.make_worker()
    (project.suite / "hold").touch()
    process = project.start("evals", "-n", "1", "--eval-shards", "2")
    record = wait_for(
        lambda: next((r for r in _running(project) if r["low"] == 100 and r["pid"]), None), process=process
    )
    log = project.suite / "asked.txt"
    wait_for(lambda: len(log.read_text().split()) == 150, process=process)
    worker = wait_for(lambda: _worker_of(project))
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{record['pid']}").exists())
    (project.suite / "hold").unlink()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert sorted(project.asked()) == list(range(200))


def _running(project):
    try:
        return [record for record in project.records() if record["status"] == "running"]
    except (OSError, ValueError):
        return []


def _worker_of(project):
    lines = (project.latest / "processes" / "gw0.jsonl").read_text().splitlines()
    return json.loads(lines[0])["pid"]


def test_a_limit_ends_the_program(project):
    """A program that never ends, and ignores SIGTERM, is ended by the item's limit; what it forked goes too."""
    code = "trap '' TERM; (trap '' TERM; sleep 987654) & echo $! > child; echo waiting; sleep 987654"
    project.make_worker(command=code.replace("{", "{{"), shell=True, timeout=1)
    ran = project.run("evals")
    assert ran.code == 1
    assert "timed out after 1 s" in ran
    assert "waiting" in (project.latest / "logs" / "infer" / "echo" / "m" / "d.log").read_text()
    assert not Path(f"/proc/{(project.suite / 'child').read_text().strip()}").exists()
    (record,) = project.records()
    assert record["status"] == "failed"
    assert "timed out after 1 s" in record["error"]


def test_a_daemon_ends_with_its_program(project):
    """What a program leaves in the background does not keep its item, and does not outlive it."""
    done = (
        "mkdir -p {output}; printf 'data_id,answer\\n' > {output}/a.csv; seq 0 199 | sed 's/.*/&,&/' >> {output}/a.csv"
    )
    code = f"(setsid sleep 987653 &) ; setsid sleep 987653 & echo $! > child; {done}"
    project.make_worker(command=code, shell=True, results={"csv": "a.csv", "prediction": "answer"})
    ran = project.run("evals")
    assert ran.code == 0, ran
    assert not Path(f"/proc/{(project.suite / 'child').read_text().strip()}").exists()


def test_a_script_of_the_seed_runs_unchanged(tmp_path):
    """A tree with an eval.sh is a suite of three lines; its own state drives the pair's, its layers are the seed's."""
    suite = tmp_path / "evals" / "curves"
    shutil.copytree(EVALS / "curves", suite)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (suite / "linear_3bit" / ".run_config").write_text("MAX_BATCH_SIZE=3\nGREETING=hello there\n")
    (suite / "linear_3bit" / "photos" / ".run_config").write_text("MAX_BATCH_SIZE=1\n")
    project = Project(tmp_path)
    ran = project.run("evals", "-n", "2")
    assert ran.code == 0, ran
    place = project.latest / "shards" / "curves" / "linear_3bit"
    (photos,) = [json.loads(path.read_text()) for path in (place / "photos").glob("worker_args_*")]
    (textures,) = [json.loads(path.read_text()) for path in (place / "textures").glob("worker_args_*")]
    assert (photos["env"]["MAX_BATCH_SIZE"], textures["env"]["MAX_BATCH_SIZE"]) == ("1", "3")
    assert photos["env"]["GREETING"] == "hello there"
    assert photos["env"]["IN_SUBDIR"] == "pgm"
    log = (project.latest / "logs" / "infer" / "curves" / "linear_3bit" / "photos.log").read_text()
    assert "batch 4 of 4: 1 pictures through table.lut" in log
    assert "6 reused" not in ran
    again = project.run("evals")
    assert again.code == 0
    assert again.output.count("(reused") + again.output.count("cached") >= 6


def test_names_are_never_executed(project):
    """Suite, model and dataset names with spaces, quotes and commands are handed over as they are."""
    odd = 'it\'s a $(touch pwned) `touch pwned` "day"'
    project.make_worker()
    shutil.copy(project.suite / "d.csv", project.suite / f"{odd}.csv")
    spec = json.loads((project.suite / "evalrun.yaml").read_text())
    spec["datasets"] = [{"path": f"{odd}.csv", "format": "csv"}]
    spec["models"] = [{"name": "m; touch pwned"}]
    (project.suite / "evalrun.yaml").write_text(json.dumps(spec))
    assert project.run("evals").code == 0
    text = " ".join(COMMAND)
    spec |= {"command": text, "shell": True}
    (project.suite / "evalrun.yaml").write_text(json.dumps(spec))
    assert project.run("evals").code == 0
    assert len(project.asked()) == 400
    assert not list(project.root.rglob("pwned"))


MISTAKES = {
    "placeholder": (
        {"command": ["a", "{lo}"]},
        "command: unknown placeholder {lo} with ask: pair; did you mean 'low'?",
    ),
    "brace": ({"command": "awk '{ print }'"}, "accepted: {NAME} for a placeholder, {{ for a brace"),
    "no results": ({"results": None}, "results: found no result; accepted: one of csv, jsonl, files, metrics"),
    "two results": ({"results": {"csv": "a", "files": "{id}"}}, "results: found csv, files; accepted: one of"),
    "server": (
        {"ask": "server", "command": "x {dataset}", "results": None},
        "unknown placeholder {dataset} with ask: server",
    ),
    "quote": ({"command": "a 'b"}, "which cannot be split into words: No closing quotation"),
    "way": ({"ask": "nicely"}, "ask: found 'nicely'; accepted: 'pair', 'batch' or 'server'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_usage_errors(project, mistake):
    """What is wrong with a command is told with file and line before anything runs."""
    top, told = MISTAKES[mistake]
    project.make_worker(**top)
    ran = project.run("evals")
    assert ran.code == 4
    assert told in ran
    assert "evalrun.yaml:1: " in ran


def test_metrics_of_a_program(project):
    """A program that scores by itself: its numbers are in table and result, and its gates count."""
    line = "mkdir -p {output}; echo '{{\"psnr\": 30.5}}' > {output}/m.json"
    project.make_worker(
        command=line, shell=True, results={"metrics": "m.json"}, metrics=[], gates={"psnr": {"min": 31}}
    )
    ran = project.run("evals")
    assert ran.code == 1
    assert "psnr=30.5" in ran
    assert project.result("m", "d")["status"] == "failed"
