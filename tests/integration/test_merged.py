"""At the end of a session the CSV files of programs are one table for each pair, however it was cut or interrupted."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sys

import pytest
from support import Project, wait_for

# Writes its rows from the last to the first; rows of an id are as many as its remainder by three, where any is asked.
WORKER = """
import csv, os, sys, time

low, high, dataset, output = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
with open(dataset, newline="") as file:
    rows = list(csv.DictReader(file))[low:high]
with open(f"{output}/generation_{low}_to_{high}.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["id", "answer"])
    for row in reversed(rows):
        while low >= 20 and os.path.exists("hold"):
            time.sleep(0.01)
        if "BROKEN" in os.environ and low >= 20:
            sys.exit(3)
        for copy in range(int(row["id"]) % 3 if "ANY" in os.environ else 1):
            table.writerow([row["id"], f"{row['x']},\\n{copy}"])
"""
COMMAND = [sys.executable, "worker.py", "{low}", "{high}", "{dataset}", "{output}"]


class Programs(Project):
    def make_worker(self, **top) -> Programs:
        self.suite.mkdir(parents=True)
        (self.root / "pytest.ini").write_text("[pytest]\n")
        (self.suite / "worker.py").write_text(WORKER)
        (self.suite / "d.csv").write_text("id,x,y\n" + "".join(f"{i},{i * i},0\n" for i in range(40)))
        values = {
            "adapter": "command",
            "command": COMMAND,
            "results": {"csv": "generation_{low}_to_{high}.csv", "prediction": "answer"},
            "models": [{"name": "m"}],
            "datasets": [{"name": "d", "path": "d.csv", "format": "csv"}],
            "id_column": "id",
            "inputs": ["x"],
            "reference": "y",
            "metrics": [],
        }
        (self.suite / "evalrun.yaml").write_text(json.dumps(values | top))
        return self

    @property
    def table(self) -> list[list[str]]:
        with (self.latest / "summary" / "echo_m_d_merged.csv").open(newline="") as file:
            return list(csv.reader(file))

    @property
    def merged(self) -> dict:
        (entry,) = json.loads((self.latest / "summary" / "merge_summary.json").read_text())["programs"]
        return entry


@pytest.fixture
def project(tmp_path):
    return Programs(tmp_path)


WHOLE = [["id", "answer"], *([str(i), f"{i * i},\n0"] for i in range(40))]


@pytest.mark.parametrize("args", [("-n0",), ("-n", "2", "--eval-shards", "4"), ("-n0", "--eval-shard-size", "7")])
def test_one_table_however_it_was_cut(project, args):
    """In the order of the dataset, every sample once; the run's merge_summary.json says so."""
    ran = project.make_worker().run("evals", *args)
    assert ran.code == 0, ran
    assert project.table == WHOLE
    assert (project.merged["total"], project.merged["missing"]["count"], project.merged["doubled"]["count"]) == (
        40,
        0,
        0,
    )
    assert project.merged["pair"] == "echo/m/d"


@pytest.mark.parametrize("how", ["one", "any"])
def test_interrupted_and_cut_anew(project, how):
    """The table of a run with Ctrl-C in the middle and other shards then is that of an undisturbed one."""
    env = {"ANY": "1"} if how == "any" else {}
    project.make_worker(rows=how)
    (project.suite / "hold").touch()
    process = project.start("evals", "-n", "2", "--eval-shards", "4", **env)
    done = lambda: len(list(project.latest.glob("shards/echo/m/d/worker_args_*.json"))) >= 3  # noqa: E731
    wait_for(done, process=process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    (project.suite / "hold").unlink()
    ran = project.run("evals", "-n", "2", "--eval-shards", "8", **env)
    assert ran.code == 0, ran
    copies = (lambda i: range(i % 3)) if how == "any" else (lambda i: range(1))
    assert project.table == [["id", "answer"], *([str(i), f"{i * i},\n{c}"] for i in range(40) for c in copies(i))]


def test_a_shard_that_failed(project):
    """The pair is merged as far as it goes, and the session says so."""
    ran = project.make_worker().run("evals", "-n", "2", "--eval-shards", "4", BROKEN="1")
    assert ran.code == 1, ran
    assert project.table == WHOLE[:21]
    assert "echo/m/d: programs completed 20 of 40 samples; their results are merged as far as they go" in ran
    assert project.merged["missing"]["count"] == 20


def test_a_complete_table_is_not_replaced_by_a_poorer_one(project):
    """What programs wrote is damaged, then gone: terminal, log and summary say so, and all rows stay in the table."""
    args = ("evals", "-n0", "--eval-shard-size", "20")
    assert project.make_worker().run(*args).code == 0
    shards = project.latest / "shards/echo/m/d"
    (shards / "worker_args_20_40.json").write_text("{")
    for lost in (20, 40):
        ran = project.run(*args)
        assert ran.code == 0, ran
        line = f"echo/m/d: what its programs wrote is gone for {lost} of 40 samples"
        assert f"ERROR: {line}" in ran
        assert f"[ERROR] {line}" in (project.latest / "task_run.log").read_text()
        assert project.table == WHOLE
        assert (project.merged["missing"]["count"], project.merged["kept"]) == (lost, 40)
        shutil.rmtree(project.latest / "shards")
    (project.latest / "summary" / "echo_m_d_merged.csv").unlink()
    ran = project.run(*args)
    assert "the merged file lacks them" in ran
    assert ran.code == 1, ran
    assert project.run(*args, "--eval-fresh").code == 0
    assert project.table == WHOLE


def test_the_table_is_that_of_the_predictions(project):
    """Data that was damaged for a while: predictions and what the programs wrote come back together."""
    assert project.make_worker().run("evals", "-n0").code == 0
    good = (project.suite / "d.csv").read_text()
    (project.suite / "d.csv").write_text(good.replace(",1,", ",7,", 1))
    assert project.run("evals", "-n0").code == 0
    assert project.table != WHOLE
    (project.suite / "d.csv").write_text(good)
    ran = project.run("evals", "-n0")
    assert ran.code == 0, ran
    assert project.table == WHOLE
    assert project.merged["pair"] == "echo/m/d"


def test_a_run_without_programs_has_no_such_table(tmp_path):
    """Python models leave predictions only."""
    project = Project(tmp_path / "p").make()
    assert project.run().code == 0
    assert "programs" not in json.loads((project.latest / "summary" / "merge_summary.json").read_text())
    assert not list((project.latest / "summary").glob("*_merged.csv"))


def test_the_log_of_a_run_tells_of_its_shards(project):
    """At the start what there is to do, at the end what was merged; scheduler_config.json is of this launch."""
    project.make_worker(retries=0)
    ran = project.run("evals", "-n", "2", "--eval-shards", "2", BROKEN="1")
    assert ran.code == 1, ran
    assert project.run("evals", "-n", "2", "--eval-shards", "4").code == 0
    log = [line.partition("] [INFO] ")[2] for line in (project.latest / "task_run.log").read_text().splitlines()]
    second = log[[place for place, line in enumerate(log) if line.startswith("run ")][2] :]
    assert second[1:7] == [
        "echo/m/d: Found 40 samples",
        *(f"echo/m/d: Task range: [{low}, {low + 10}) (10 samples)" for low in (0, 10, 20, 30)),
        "echo/m/d: Found 2 pending tasks out of 4 total",
    ]
    merged = [line for line in second if "merged" in line or "Loaded" in line or "Merged" in line]
    assert [line for line in merged if "Loaded" in line]
    assert merged[-2:] == [
        "echo/m/d: Merged 3 files into summary/echo_m_d_merged.csv",
        "echo/m/d: Total rows in merged file: 40",
    ]
    config = json.loads((project.latest / "shards/echo/m/d/scheduler_config.json").read_text())
    assert config["ranges"] == config["positions"] == [[0, 10], [10, 20], [20, 30], [30, 40]]


def test_a_dry_run_shows_commands(project):
    """Whole, with what is known before anything runs; the terminal of a run shows each, and -q does not."""
    project.make_worker()
    plan = project.run("evals", "--collect-only", "--eval-shards", "2")
    command = f"$ {sys.executable} worker.py 20 40 {project.suite / 'd.csv'} {{output}}"
    assert plan.output.count(command) == 1, plan
    ran = project.run("evals", "-n", "1", "--eval-shards", "2")
    assert f"[echo/m/d 20-40] $ {sys.executable} worker.py 20 40" in ran
    again = project.run("evals", "-n", "1", "-q", "--eval-fresh")
    assert "worker.py 0 40" not in again
