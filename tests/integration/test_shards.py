"""Pairs cut into shards, in real pytest: whatever is cut, killed, chosen or handed out, it ends as if undisturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from itertools import pairwise

import pytest
from gpuhost import GpuHost, leases
from support import Project, kill_group, wait_for

from pytest_evalrun.rundir.state import parse

# Says what it is asked when it has answered, and fails where a file says so.
MODEL = '''
import os, time
from pathlib import Path

HERE = Path(__file__).parent

class Model:
    """Answers with the input."""

    def __init__(self, path=None, delay=0.0):
        self.delay = delay

    def predict(self, batch):
        time.sleep(self.delay)
        bad = HERE / "bad.txt"
        if bad.exists() and any(sample.id in bad.read_text().split() for sample in batch):
            raise ValueError("not today")
        with (HERE / "asked.txt").open("a") as file:
            file.writelines(f"{sample.id}\\n" for sample in batch)
        return [sample.input for sample in batch]
'''


class Shards(Project):
    """A project whose model tells what it has answered, and fails at what it is told to."""

    def make(self, models=("a",), datasets=("one",), samples=8, **top):
        super().make(models, datasets, samples, **{"shards": 2, "retries": 0, "max_batch_size": 2} | top)
        (self.suite / "model.py").write_text(MODEL)
        return self

    def command(self, *args):
        """With pytest's own cache, which ``--lf`` and ``--ff`` need."""
        return [sys.executable, "-m", "pytest", *args]

    def bad(self, *ids):
        (self.suite / "bad.txt").write_text(" ".join(ids))

    def asked(self):
        """What the model answered since the last time, in order of ids."""
        file = self.suite / "asked.txt"
        ids = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return sorted(map(int, ids))

    def answers(self, dataset="one", task="a"):
        return [line["prediction"] for line in self.predictions(task, dataset)]

    def task_list(self):
        return (self.latest / ".task_list").read_text()

    def items(self, ran):
        """How each item ended, by its name."""
        words = [line.split() for line in ran.output.splitlines() if line[:6] in ("PASSED", "FAILED", "ERROR ")]
        return {line[1].removeprefix("echo/"): line[0] for line in words if line[1].startswith("echo/")}


@pytest.fixture
def project(tmp_path):
    return Shards(tmp_path / "project")


# ------------------------------------------------------------------ who hands out the items

WAYS = {
    "alone": [],
    "ours": ["-n2"],
    "xdist's": ["-n2", "--eval-scheduler", "off"],
    "worksteal": ["-n2", "--dist", "worksteal"],
    "loadfile": ["-n2", "--dist", "loadfile"],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_shards_and_then_their_pair(project, way):
    """Whoever hands out the items: each sample is asked once, and the pair has the result of all."""
    project.make(models=("a", "b"), shards=3)
    ran = project.run("evals", *way)
    assert ran.code == 0, ran
    names = [f"{task}/one{part}" for task in "ab" for part in ("/0-2", "/2-5", "/5-8", "")]
    assert project.items(ran) == dict.fromkeys(names, "PASSED")
    assert project.asked() == sorted([*range(8)] * 2)
    assert project.answers() == project.answers(task="b") == list(range(8))
    assert project.result("a", "one")["samples"] == {"total": 8, "predicted": 8, "failed": 0, "reused": 0}
    assert project.task_list().splitlines() == ["*echo/a||1", "-one|2", "*echo/b||1", "-one|2", "+summary|2|2"]


def test_a_worker_whose_turn_comes_the_wrong_way_round_does_not_wait_for_itself(project):
    """Under a scheduler that does not know of shards a pair does what nobody is at, even what is due after itself."""
    project.make(shards=4, params={"delay": 0.05})
    (project.root / "conftest.py").write_text("def pytest_collection_modifyitems(items):\n    items.reverse()\n")
    ran = project.run("evals", "-n2", "--eval-scheduler", "off")
    assert ran.code == 0, ran
    assert project.asked() == [*range(8)]
    assert len(project.items(ran)) == 5


def test_failed_first_does_not_put_a_pair_before_its_shards(project):
    """With --ff pytest would start with the pair that failed, whose shards would then be missing."""
    project.make(gates={"exact_match": {"min": 1}})
    project.dataset("one", 8, wrong=2)
    ran = project.run("evals")
    assert (ran.code, project.items(ran)["a/one"]) == (1, "FAILED")
    (project.suite / "a.bin").write_text("better weights")
    ran = project.run("evals", "--ff")
    assert list(project.items(ran)) == ["a/one/0-4", "a/one/4-8", "a/one"]
    assert project.items(ran)["a/one"] == "FAILED", ran


# ------------------------------------------------------------------ kill, cut anew


@pytest.mark.slow
def test_kills_and_other_cuts_change_nothing(project):
    """Killed with all its workers again and again, with other shards each time: no finished batch is asked again."""
    project.make(samples=80, params={"delay": 0.02})
    dice = random.Random(7)  # the moments; the seed only makes a failure easier to repeat
    cuts = [("--eval-shards", "4"), ("--eval-shards", "7"), ("--eval-set", "shards=null"), ("--eval-shard-size", "11")]
    for place, cut in enumerate(cuts):
        process = project.start("evals", "-n2", *cut)
        target = 10 + 12 * place + dice.randrange(8)
        wait_for(lambda many=target: len(_lines(project)) >= many, process=process)
        kill_group(process)
    ran = project.run("evals", "-n2", "--eval-shards", "3")
    assert ran.code == 0, ran
    assert project.answers() == list(range(80))
    asked = project.asked()
    assert set(asked) == set(range(80))
    assert len(asked) - 80 <= len(cuts) * 2 * 2, "kills x workers x batch size"
    assert project.run("evals", "--eval-set", "shards=null").code == 0
    assert project.asked() == []


def _lines(project):
    file = project.suite / "asked.txt"
    return file.read_text().split() if file.exists() else []


def test_killed_workers_cost_their_shards_nothing(project):
    """They are run again at once and carry on; the exit code is that of an undisturbed run."""
    project.make(samples=40, params={"delay": 0.05}, shards=4)
    process = project.start("evals", "-n2", "--eval-crash-retries", "9")
    wait_for(lambda: len(_lines(project)) >= 4, process=process)
    killed = wait_for(lambda: _kill_a_worker(project, process.pid), process=process)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert killed
    assert project.answers() == list(range(40))
    assert len(project.asked()) - 40 <= 2


def _kill_a_worker(project, main):
    for file in (project.latest / "processes").glob("gw*.jsonl"):
        pid = json.loads(file.read_text().splitlines()[0])["pid"]
        if pid != main:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def test_interrupted_and_cut_anew(project):
    """Ctrl-C with four shards, then eight: pending in between, and nothing that was done is asked again."""
    project.make(samples=64, params={"delay": 0.02}, shards=4)
    process = project.start("evals", "-n2")
    wait_for(lambda: len(_lines(project)) >= 16, process=process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode == 2
    assert "-one|0" in project.task_list()
    ran = project.run("evals", "-n2", "--eval-shards", "8")
    assert ran.code == 0, ran
    assert len(project.asked()) - 64 <= 4
    assert project.answers() == list(range(64))


# ------------------------------------------------------------------ trouble


def test_a_shard_in_error_makes_its_pair_one(project):
    """With its coverage; other pairs are fine, --lf runs both again, and the next run completes."""
    project.make(models=("a", "b"), shards=4)
    (project.suite / "model.py").write_text(
        MODEL.replace("self.delay = delay", "self.delay, self.name = delay, path").replace(
            "if bad.exists()", "if 'a.bin' in str(self.name) and bad.exists()"
        )
    )
    project.bad("4", "5")
    ran = project.run("evals", "-n2")
    assert ran.code == 1, ran
    expected = {f"{task}/one{part}": "PASSED" for task in "ab" for part in ("/0-2", "/2-4", "/4-6", "/6-8", "")}
    assert project.items(ran) == expected | {"a/one/4-6": "ERROR", "a/one": "ERROR"}
    assert "2 of 8 samples failed (max_failed is 0)" in ran
    assert "-one|3" in project.task_list()
    assert (project.latest / "failed_tasks.txt").read_text().count("one") == 1
    project.bad()
    project.asked()
    again = project.run("evals", "--lf")
    assert again.code == 0, again
    assert project.items(again) == {"a/one/4-6": "PASSED", "a/one": "PASSED"}
    assert project.asked() == [4, 5]
    assert "-one|3" not in project.task_list()


def test_hopeless_shards_say_what_is_covered(project):
    """A shard that gives up leaves the rest of its range unpredicted; the pair names it."""
    project.make(samples=40, shards=2)
    project.bad(*map(str, range(20)))
    ran = project.run("evals")
    assert ran.code == 1
    assert "3 whole batches failed in a row" in ran
    assert "1 of 2 shards are complete, 20 of 40 samples are predicted; missing: 0-20" in ran


def test_samples_that_may_fail(project):
    """max_failed is a share of the pair, whatever shard they are of."""
    project.make(shards=4, max_failed=0.25, max_batch_size=1)
    project.bad("1", "6")
    ran = project.run("evals")
    assert ran.code == 0, ran
    assert project.result("a", "one")["samples"] == {"total": 8, "predicted": 6, "failed": 2, "reused": 0}
    (line,) = [line for line in ran.output.splitlines() if line.startswith("PASSED  echo/a/one ")]
    assert "6 of 8 samples" in line


def test_a_dataset_that_cannot_be_read_is_its_pairs_error(project):
    """Collection goes on, the other pairs are evaluated."""
    project.make(datasets=("one", "two"))
    (project.suite / "two.jsonl").write_text("{")
    ran = project.run("evals")
    assert ran.code == 1
    assert project.items(ran) == {"a/one/0-4": "PASSED", "a/one/4-8": "PASSED", "a/one": "PASSED", "a/two": "ERROR"}


# ------------------------------------------------------------------ what is selected


def test_only_the_pair_is_selected(project):
    """It asks the model nothing: what its shards have not done makes it an ERROR that says so."""
    project.make()
    ran = project.run("evals/echo/evalrun.yaml::test_pair[a/one]")
    assert ran.code == 1
    assert "0 of 2 shards are complete, 0 of 8 samples are predicted (new); missing: 0-4, 4-8" in ran
    assert project.asked() == []
    assert project.run("evals", "-k", "one/").code == 0
    assert "-one|3" in project.task_list()
    assert project.run("evals/echo/evalrun.yaml::test_pair[a/one]").code == 0
    assert "-one|2" in project.task_list()


def test_only_one_shard_is_selected(project):
    """The pair stands as it stood: pending, or complete when the shard was only reused."""
    project.make()
    ran = project.run("evals", "-k", "0-4")
    assert (ran.code, project.items(ran), project.asked()) == (0, {"a/one/0-4": "PASSED"}, [0, 1, 2, 3])
    assert "-one|0" in project.task_list()
    assert project.run("evals").code == 0
    assert project.asked() == [4, 5, 6, 7]
    again = project.run("evals", "-k", "0-4")
    assert "reused: its pair is complete" in again
    assert "-one|2" in project.task_list()
    (project.suite / "a.bin").write_text("other weights")
    assert project.run("evals", "-k", "0-4").code == 0
    assert "-one|0" in project.task_list(), "what was complete is stale now"


def test_selection_by_state(project):
    """--eval-only takes a pair with all of its shards, or not at all."""
    project.make(datasets=("one", "two", "three"), max_batch_size=4)
    project.run("evals", "-k", "one or 0-4 and two")
    chosen = project.run("evals", "--eval-only", "unfinished", "--collect-only", "-q")
    names = [line.partition("[")[2] for line in chosen.output.splitlines() if "::" in line]
    assert names == [f"a/{name}{part}]" for name in ("two", "three") for part in ("/0-4", "/4-8", "")]
    (project.suite / "a.bin").write_text("other weights")
    stale = project.run("evals", "--eval-only", "stale")
    assert set(project.items(stale)) == {f"a/{name}{part}" for name in ("one", "two") for part in ("/0-4", "/4-8", "")}
    project.bad("1")
    project.run("evals", "--eval-fresh", "-k", "one")
    project.bad()
    failed = project.run("evals", "--eval-only", "failed")
    assert set(project.items(failed)) == {"a/one/0-4", "a/one/4-8", "a/one"}
    assert failed.code == 0


def test_the_plan_tells_of_each_shard(project):
    """Its own size and state, while nothing is run."""
    project.make(shards=4, samples=10)
    project.run("evals", "-k", "0-2 or 2-5")
    project.asked()
    lines = project.run("evals", "--collect-only").output.splitlines()
    plan = {words[1].removeprefix("echo/a/"): line for line in lines if len(words := line.split()) > 2}
    assert {name: line.split()[0] for name, line in plan.items() if name.startswith("one")} == {
        "one/0-2": "reuse",
        "one/2-5": "reuse",
        "one/5-7": "run",
        "one/7-10": "run",
        "one": "run",
    }
    assert plan["one/2-5"].endswith("3 samples  (reused: all its samples were predicted before)")
    assert plan["one/5-7"].endswith("2 samples  (new)")
    assert plan["one/7-10"].endswith("3 samples  (new)")
    assert plan["one"].endswith("10 samples  (resumed at 5 of 10 samples)")
    assert project.asked() == []
    project.run("evals", "-k", "5-7 or 7-10 or one]")
    done = project.run("evals", "--collect-only", "-n2")
    assert done.code == 0
    assert "2 workers: no pair would be run" in done


# ------------------------------------------------------------------ modes


def test_stages_and_limits(project):
    """Predict first, score later; a limit cuts what it leaves, and never counts for the whole pair."""
    project.make()
    limited = project.run("evals", "--eval-limit", "5")
    assert limited.code == 0
    assert set(project.items(limited)) == {"a/one/0-2", "a/one/2-5", "a/one"}
    assert "-one|0" in project.task_list()
    assert project.asked() == [0, 1, 2, 3, 4]
    assert project.run("evals", "-n2", "--eval-mode", "infer").code == 0
    assert project.asked() == [*range(8)]
    assert project.run("evals", "--eval-mode", "eval", "--eval-shards", "3").code == 0
    assert project.result("a", "one")["samples"]["predicted"] == 8
    assert project.run("evals", "--eval-limit", "5").code == 0
    assert "-one|2" in project.task_list(), "a limited evaluation says nothing of the pair"
    assert project.asked() == []
    assert project.run("evals", "--eval-fresh").code == 0
    assert project.asked() == [*range(8)]


def test_a_new_model_makes_all_shards_again_once(project):
    """Though all of them start at one moment."""
    project.make(samples=24, shards=6)
    assert project.run("evals", "-n3").code == 0
    project.asked()
    (project.suite / "a.bin").write_text("other weights")
    ran = project.run("evals", "-n3")
    assert ran.code == 0, ran
    assert project.asked() == [*range(24)]
    project.dataset("one", 25)
    ran = project.run("evals", "-n3")
    assert ran.code == 0, ran
    assert project.asked() == [*range(25)]


def test_a_table_is_cut_by_the_values_of_its_ids(project):
    """Items are called by them; ids that do not ascend are a usage error with the file and the values."""
    project.make(range="id", id_column="n")
    rows = [{"n": 10 * i + 5, "x": i, "y": i} for i in range(6)]
    (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = project.run("evals", "-n2")
    assert ran.code == 0, ran
    assert set(project.items(ran)) == {"a/one/5-35", "a/one/35-56", "a/one"}
    rows[4]["n"] = 7
    (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for workers in ("-n0", "-n2"):
        ran = project.run("evals", workers)
        assert ran.code == 4
        assert "one.jsonl: range: id needs ids in ascending order; found 7 after 35" in ran


# ------------------------------------------------------------------ users, reports


OWN = """
import pytest

def test_own(evaluation):
    assert evaluation.metrics["exact_match"] == 1
    assert [line.index for line in evaluation.predictions] == list(range(8))
    evaluation.record("seen", 8)

def test_name(pair):
    assert pair.id == "a/one"
"""


@pytest.mark.parametrize("way", [[], ["-n2"], ["-n2", "--eval-scheduler", "off"]], ids=["alone", "ours", "xdist's"])
def test_users_functions_see_the_whole_pair(project, way):
    """They start when its shards have ended; what they record lies beside the result, not in a shard's way."""
    project.make(params={"delay": 0.05})
    (project.suite / "test_own.py").write_text(OWN)
    ran = project.run("evals", *way)
    assert ran.code == 0, ran
    assert project.asked() == [*range(8)]
    kept = project.latest / "results" / "echo" / "a" / "one" / "test_own.json"
    assert json.loads(kept.read_text())["values"] == {"seen": 8}


def evalrun(project, *args):
    command = [sys.executable, "-c", "from pytest_evalrun.cli import main; main()", *args]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=300, check=False)


def test_reports_count_pairs(project):
    """One row a pair in the summary and in every list; verify finds nothing to complain of, in the middle of it too."""
    project.make(datasets=("one", "two"))
    project.bad("5")
    assert project.run("evals", "-n2", "-k", "one").code == 1
    assert evalrun(project, "verify").returncode == 0
    listed = json.loads(evalrun(project, "list", "--json").stdout)
    assert "0-4" not in json.dumps(listed)
    project.bad()
    assert project.run("evals", "-n2").code == 0
    rows = (project.latest / "summary" / "summary.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:4] for row in rows] == [["echo", "a", name, "passed"] for name in ("one", "two")]
    verified = evalrun(project, "verify")
    assert verified.returncode == 0, verified.stdout
    left = [path.name for path in (project.latest / "predictions" / "echo" / "a").iterdir() if path.is_dir()]
    assert left == [], "what shards predicted is in the pair's own file"


def test_a_pair_runs_while_its_shards_do(project):
    """One line in the task list, and its state counts all of its shards."""
    project.make(samples=24, shards=3, params={"delay": 0.15})
    process = project.start("evals", "-n2")
    try:
        wait_for(lambda: (project.workdir / "latest" / ".task_list").exists(), process=process)
        wait_for(lambda: "-one|1" in project.task_list(), process=process)
        assert project.task_list().count("-one") == 1
        file = project.latest / "state" / "echo" / "a" / "one.state"
        state = wait_for(lambda: file.exists() and parse(file.read_text()), process=process)
        assert (state.total_batches, state.total_data, state.max_batch_size) == (12, 24, 2)
        more = wait_for(lambda: (now := parse(file.read_text())) and now.current_batch >= 8 and now, process=process)
        assert more.total_batches == 12
        output, _ = process.communicate(timeout=300)
    finally:
        kill_group(process)
    assert process.returncode == 0, output
    state = parse(file.read_text())
    assert (state.current_batch, state.total_batches) == (12, 12)
    (line,) = (project.workdir / "history.jsonl").read_text().splitlines()
    seconds = json.loads(line)["seconds"]
    assert 1.5 <= seconds["predict"] <= seconds["total"] < 30, "twelve batches of 0.15 s, whoever predicted them"


def test_events_and_logs_are_of_each_shard(project):
    """Each item begins and ends once, under its own name, and has a log of its own."""
    project.make()
    project.run("evals", "-n2")
    for event in ("item_started", "item_finished"):
        names = sorted(entry["pair"] for entry in project.events() if entry["event"] == event)
        assert names == ["echo/a/one", "echo/a/one/0-4", "echo/a/one/4-8"]
    logs = project.latest / "logs" / "infer" / "echo" / "a"
    assert sorted(path.relative_to(logs).as_posix() for path in logs.rglob("*.log")) == [
        "one.log",
        "one/0-4.log",
        "one/4-8.log",
    ]


# ------------------------------------------------------------------ programs

WORKER = """
import argparse, csv, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--low", type=int)
parser.add_argument("--high", type=int)
parser.add_argument("--output", type=Path)
args = parser.parse_args()
here = Path(__file__).parent
with (here / "ranges.txt").open("a") as file:
    file.write(f"{args.low} {args.high}\\n")
args.output.mkdir(parents=True, exist_ok=True)
with (args.output / f"rows_{args.low}_to_{args.high}.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["data_id", "answer"])
    for i in range(args.low, args.high):
        time.sleep(0.05)
        writer.writerow([i, i])
        file.flush()
"""


def program(project, **top):
    project.make(
        samples=40,
        adapter="command",
        command=["{python}", "worker.py", "--low", "{low}", "--high", "{high}", "--output", "{output}"],
        params={"python": sys.executable},
        results={"csv": "{output}/rows_{low}_to_{high}.csv", "id_column": "data_id", "prediction": "answer"},
        **{"shards": 4, "id_column": None} | top,
    )
    (project.suite / "worker.py").write_text(WORKER)
    return project.suite / "ranges.txt"


def test_programs_are_asked_for_missing_ranges_only(project):
    """Four shards, Ctrl-C in the middle, then eight: finished ranges are not run again, the result is that of all."""
    ranges = program(project)
    process = project.start("evals", "-n2")
    wait_for(lambda: ranges.exists() and len(ranges.read_text().splitlines()) >= 3, process=process)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    process.communicate(timeout=300)
    first = _ranges(ranges)
    finished = [cut for cut in first if _completed(project, *cut)]
    assert len(finished) in (1, 2)
    ran = project.run("evals", "-n2", "--eval-shards", "8")
    assert ran.code == 0, ran
    second = _ranges(ranges)[len(first) :]
    done = {i for low, high in finished for i in range(low, high)}
    assert done.isdisjoint(i for low, high in second for i in range(low, high))
    eighths = [*pairwise(range(0, 41, 5))]
    assert all(any(a <= low and high <= b for a, b in eighths) for low, high in second)
    assert project.answers() == [str(number) for number in range(40)]
    assert project.run("evals", "--eval-set", "shards=null").code == 0
    assert len(_ranges(ranges)) == len(first) + len(second)


def test_programs_are_asked_for_ids_where_ranges_are_of_ids(project):
    """Low and high are values of the id column, as the shards are called."""
    ranges = program(project, range="id", id_column="n")
    rows = [{"n": i, "x": i, "y": str(i)} for i in range(100, 140)]
    (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = project.run("evals", "-n2")
    assert ran.code == 0, ran
    assert sorted(_ranges(ranges)) == [(100, 110), (110, 120), (120, 130), (130, 140)]
    assert {f"a/one/{low}-{high}" for low, high in _ranges(ranges)} < project.items(ran).keys()
    assert project.result("a", "one")["metrics"]["exact_match"]["value"] == 1


def _ranges(file):
    return [tuple(map(int, line.split())) for line in file.read_text().splitlines()]


def _completed(project, low, high):
    file = project.latest / "shards" / "echo" / "a" / "one" / f"worker_args_{low}_{high}.json"
    return json.loads(file.read_text())["status"] == "completed"


# ------------------------------------------------------------------ GPUs


@pytest.mark.parametrize("scheduler", ["on", "off"])
def test_shards_lease_gpus_and_their_pair_needs_none(tmp_path, monkeypatch, scheduler):
    """Each shard runs on a GPU of its own; a new model never leaves shards waiting for each other's GPUs."""
    host = GpuHost(tmp_path, monkeypatch)
    host.nvml.gpus(80, 80)
    project = host.make(samples=12, shards=4, params={"delay": 0.02})
    for weights in ("first", "second"):
        (project.suite / "a.bin").write_text(weights)
        ran = project.run("evals", "-n3", "--eval-scheduler", scheduler)
        assert ran.code == 0, ran
        assert project.result("a", "one")["samples"]["predicted"] == 12
    assert {gpu for _, _, gpu in host.seen()} <= {"0", "1"}
    assert project.run("evals", "-n2", "--eval-mode", "eval", "--eval-gpus", "none").code == 0
    wait_for(host.is_quiet)
    taken, freed = leases(project.latest)
    assert taken == freed != []
