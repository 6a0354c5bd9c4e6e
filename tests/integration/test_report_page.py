"""The page of a run, as sessions and the command make it: never at the price of what it shows."""

from __future__ import annotations

import json
import re

import pytest

DETAIL = re.compile(r'<script type="application/json" id="detail-[^"]+">(.*?)</script>', re.DOTALL)


def page(project, run=None):
    return (run or project.latest) / "summary" / "report.html"


def details(project, run=None):
    """What opens for each pair, by its id."""
    found = map(json.loads, DETAIL.findall(page(project, run).read_text(encoding="utf-8")))
    return {one["id"]: one for one in found}


def fragments(project):
    return sorted((project.latest / "results").rglob("*.fragment"))


def facts(path):
    return path.stat().st_ino, path.stat().st_mtime_ns


def shown(detail):
    """Inputs and predictions of a pair, as they are shown."""
    return [(sample["inputs"][0]["part"]["text"], sample["prediction"]["text"]) for sample in detail["samples"]]


def test_a_launch_ends_with_a_page(project):
    """Each worker tells of the pairs that it scored, with their inputs; the terminal says where the page is."""
    ran = project.make(models=("a", "b"), datasets=("one", "two")).run("evals", "-n", "2")
    assert ran.code == 0, ran
    assert "summary/report.html" in ran
    assert len(fragments(project)) == 4
    found = details(project)
    assert set(found) == {f"echo/{task}/{dataset}" for task in "ab" for dataset in ("one", "two")}
    assert shown(found["echo/a/two"]) == [(str(i), str(i)) for i in range(8)]


HALF = """
import os
from pathlib import Path
from pytest_evalrun.datasets.protocol import Sample

class Reader:
    def __init__(self, path): pass
    def __iter__(self):
        with open("read_by.txt", "a") as file:
            print(os.getpid(), file=file)
        return (Sample(i, str(i), i, i) for i in range(8))

class Model:
    def __init__(self, path): pass
    def predict(self, batch):
        if batch[0].index >= 4: raise ValueError("no more")
        return [sample.input for sample in batch]
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_end_of_a_launch_runs_no_reader_of_a_user(project, workers):
    """It may take any time, and nobody guards it there: a pair that ended half done is told of without its inputs, and
    with them by the command."""
    project.make(format="./half.py:Reader", adapter="./half.py:Model", max_batch_size=2)
    (project.suite / "half.py").write_text(HALF)
    process = project.start("evals", "-n", workers)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    read_by = (project.root / "read_by.txt").read_text().split()
    assert read_by and str(process.pid) not in read_by
    (found,) = details(project).values()
    assert [sample["inputs"] for sample in found["samples"]] == [[]] * len(found["samples"])
    assert not fragments(project)
    assert project.evalrun("report", "--html")[0] == 0
    (found,) = details(project).values()
    assert [sample["inputs"][0]["part"]["text"] for sample in found["samples"]][:4] == ["0", "1", "2", "3"]


def test_a_launch_that_reused_all_leaves_the_page_alone(project):
    """And its fragments: nothing changed."""
    project.make().run("evals")
    before = [facts(path) for path in (page(project), *fragments(project))]
    again = project.run("evals")
    assert "reused" in again
    assert [facts(path) for path in (page(project), *fragments(project))] == before


def test_another_run_is_compared_with_the_one_before(project):
    """What flipped since, and with which other content; or with the run that is named."""
    project.make(gates={"exact_match": {"min": 0.9}}).run("evals")
    first = project.latest
    project.dataset("one", 8, wrong=2)
    ran = project.run("evals", "--eval-run", "new")
    assert ran.code == 1, ran
    (found,) = details(project).values()
    assert found["against"] == first.name
    assert [sample["i"] for sample in found["samples"] if sample["flip"] == {"exact_match": "lost"}] == [0, 1]
    assert found["changes"][0].startswith("references changed")
    second = project.latest
    code, output, errors = project.evalrun("report", first.name, "--html", "--against", second.name)
    assert code == 0, errors
    assert str(page(project, first)) in output
    (found,) = details(project, first).values()
    assert found["against"] == second.name
    assert {sample["flip"].get("exact_match") for sample in found["samples"]} == {None, "won"}


def test_shards_are_told_of_by_their_pair(project):
    """With all of its samples."""
    ran = project.make(shards=3).run("evals", "-n", "2")
    assert ran.code == 0, ran
    assert len(fragments(project)) == 1
    (found,) = details(project).values()
    assert len(shown(found)) == 8


def test_without_running_anything_the_page_is_made_again(project):
    """Of whatever lies there: fragments that are gone are made anew, with inputs from the suite as it is."""
    project.make().run("evals")
    whole = details(project)
    for path in (page(project), *fragments(project)):
        path.unlink()
    ran = project.run("evals", "--eval-mode", "viz")
    assert ran.code == 0, ran
    assert details(project) == whole
    page(project).unlink()
    code, output, errors = project.evalrun("report", "--html")
    assert code == 0, errors
    assert output.splitlines()[-1] == str(page(project))
    assert details(project) == whole


def test_a_page_that_cannot_be_made_is_one_remark(project):
    """The outcome is that of the pairs."""
    project.make().run("evals")
    page(project).unlink()
    page(project).mkdir()
    (page(project) / "in the way").touch()
    ran = project.run("evals", "--eval-fresh")
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 1}
    assert ran.output.count("report.html could not be made") == 1
    code, _, errors = project.evalrun("report", "--html")
    assert (code, "Is a directory" in errors) == (2, True), errors


def test_a_fragment_that_cannot_be_made_costs_nothing(project):
    """Its pair passed; the page says less of it."""
    project.make(models=("a", "b"))
    project.run("evals", "-k", "a/one")
    place = project.latest / "results" / "echo" / "b" / "one.fragment"
    place.mkdir(parents=True)
    ran = project.run("evals")
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 2}
    assert "1 pair whose details could not be made: echo/b/one" in page(project).read_text(encoding="utf-8")
    assert details(project)["echo/a/one"]["samples"]
    place.rmdir()
    project.run("evals")
    assert details(project)["echo/b/one"]["samples"]


def test_items_do_not_keep_the_samples_of_their_pairs(project):
    """What was read of a small dataset is there for its fragment, and no longer: of 10,000 pairs it would be much."""
    project.make(datasets=("one", "two"))
    (project.root / "conftest.py").write_text(
        "from pytest_evalrun.plugin.worker import evaluation_key\n\n"
        "def pytest_runtest_teardown(item):\n"
        "    print('samples kept:', item.stash[evaluation_key].samples)\n"
    )
    ran = project.run("evals", "-s")
    assert ran.code == 0, ran
    assert ran.output.count("samples kept: None") == 2


def test_a_pair_in_trouble_is_on_the_page_with_its_reason(project):
    """Though it has no samples."""
    project.make(models=("a", "b"))
    (project.suite / "b.bin").write_bytes(b"\xff")
    ran = project.run("evals")
    assert ran.code == 1, ran
    found = details(project)
    assert (found["echo/a/one"]["status"], found["echo/b/one"]["status"]) == ("passed", "error")
    assert "can't decode byte 0xff" in found["echo/b/one"]["error"]


def test_secrets_are_no_part_of_the_page(project):
    """Though a dataset holds one: the page is what people send around."""
    project.make(params={"delay": 0}, env={"KEY": "${THE_KEY}"})
    line = json.dumps({"x": "my key is 0123456789abcdef", "y": "no"})
    (project.suite / "one.jsonl").write_text(line + "\n")
    ran = project.run("evals", "-n", "1", THE_KEY="0123456789abcdef")
    assert page(project).is_file(), ran
    assert "0123456789abcdef" not in page(project).read_text(encoding="utf-8")


def test_reset_takes_what_was_told_of_a_pair(project):
    """With all else that it came to."""
    project.make().run("evals")
    code, _, errors = project.evalrun("reset", "-k", "a", "--yes")
    assert code == 0, errors
    assert fragments(project) == []


def test_what_jobs_told_of_their_pairs_comes_into_the_run(cluster):
    """With the inputs that they had."""
    project = cluster(models=("a", "b"))
    ran = project.run("evals", "--eval-engine", "command", "--eval-jobs", "2")
    assert ran.code == 0, ran
    assert shown(details(project)["echo/b/one"])[7] == ("7", "7")
    assert len(fragments(project)) == 2


def test_against_is_for_the_page(project):
    """A mistake is told as one."""
    project.make().run("evals")
    code, _, errors = project.evalrun("report", "--against", "latest")
    assert (code, "--html" in errors) == (2, True)
    code, _, errors = project.evalrun("report", "--html", "--against", "nothing")
    assert (code, "not found" in errors) == (2, True)


@pytest.mark.parametrize("limit", [(), ("--eval-limit", "3")])
def test_a_launch_of_first_samples_has_a_page_too(project, limit):
    """Beside the whole result, and never in its place."""
    project.make().run("evals")
    ran = project.run("evals", *limit)
    assert ran.code == 0, ran
    found = details(project)
    assert len(found) == 1 + bool(limit)
    assert found["echo/a/one"]["total"] == 8
