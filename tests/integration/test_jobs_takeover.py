"""What an attempt takes over of the run and of earlier attempts, and what it does not believe."""

from __future__ import annotations

import json
import shutil

import pytest
from jobsuite import Jobs

from pytest_evalrun.rundir.jobfiles import JobItem
from pytest_evalrun.suite.digests import digest_of

SAMPLES = 20
WRITES = '''
import os
from pathlib import Path

import numpy

class Model:
    """Writes a file for each sample, and logs what it is asked."""

    def __init__(self, path, outputs):
        self.outputs = Path(outputs)

    def predict(self, batch):
        with open(os.environ["ASKED"], "a") as file:
            file.writelines(f"{sample.id}\\n" for sample in batch)
        return [{"picture": self._drawn(sample), "also": self._written(sample)} for sample in batch]

    def _drawn(self, sample):
        return numpy.full((4, 4), sample.input, numpy.uint8)

    def _written(self, sample):
        self.outputs.mkdir(parents=True, exist_ok=True)
        path = self.outputs / f"{sample.id}.txt"
        path.write_text(f"answer {sample.input}")
        return path
'''


@pytest.fixture
def jobs(project):
    project.make(models=("a",), datasets=("one",), samples=SAMPLES)
    return Jobs(project)


def lines_of(root, dataset="one"):
    return root / "predictions" / "echo" / "a" / f"{dataset}.jsonl"


def stand_in(jobs, whole, root, count, first=0):
    """A run or an attempt that has come so far: what ``whole`` has, but ``count`` lines of it alone."""
    shutil.copytree(whole.paths.root / "predictions", root / "predictions", dirs_exist_ok=True)
    file = lines_of(root)
    file.write_bytes(b"".join(file.read_bytes().splitlines(True)[first : first + count]))
    (file.parent / "one.scores.jsonl").unlink(missing_ok=True)
    return file


def attempt(jobs, *sources, number=9, **changes):
    jobs.asked.unlink(missing_ok=True)
    return jobs.write(attempt=number, sources=tuple(map(str, sources)), **changes)


@pytest.fixture
def whole(jobs):
    job = jobs.write(unit="u009")
    assert job.run().code == 0
    return job


def reason(job):
    """Why the only pair was evaluated, as whoever reads the reports learns it."""
    (item,) = job.told("item")
    return next(report["evalrun"]["reason"] for report in item["reports"] if "evalrun" in report)


def test_lines_of_all_sources_count_but_torn_ones_and_those_of_another_model(jobs, whole):
    """A run and two attempts: what any of them has asked is not asked again; what is torn, failed or made by another
    model is."""
    run, torn, other = jobs.run.root, jobs.run.root / "engine/u001/1", jobs.run.root / "engine/u001/2"
    stand_in(jobs, whole, run, 5)
    file = stand_in(jobs, whole, torn, 6, first=4)
    file.write_bytes(file.read_bytes()[:-30])
    stand_in(jobs, whole, other, SAMPLES)
    fingerprint = other / "predictions/echo/a/one.fingerprint.json"
    content = json.loads(fingerprint.read_text())
    content["parts"]["model"] = "another"
    fingerprint.write_text(json.dumps(content))
    before = {path: path.read_bytes() for source in (run, torn, other) for path in source.rglob("*") if path.is_file()}
    job = attempt(jobs, other, torn, run)
    ran = job.run()
    assert ran.code == 0, ran
    assert sorted(map(int, jobs.asked_for())) == [*range(9, SAMPLES)]
    assert [line["index"] for line in job.predictions("a", "one")] == [*range(SAMPLES)]
    assert reason(job) == f"resumed at 9 of {SAMPLES} samples"
    assert job.result("a", "one")["samples"]["reused"] == 9
    assert job.result("a", "one")["metrics"] == whole.result("a", "one")["metrics"]
    unchanged = {path: path.read_bytes() for path in before}
    assert unchanged == before


def test_where_nothing_is_left_to_ask_nothing_is_loaded(jobs, whole):
    """An attempt that was killed before it could tell has all its lines: they are only scored again."""
    (jobs.project.suite / "model.py").write_text(
        (jobs.project.suite / "model.py").read_text().replace("self.delay = delay", "raise RuntimeError('loaded')")
    )
    source = whole.paths.root / "predictions/echo/a/one.fingerprint.json"
    jobs.project.yaml(["a"], ["one"])
    fresh = jobs.write(unit="u008")
    fresh.run()
    content = json.loads(source.read_text())
    now = json.loads((fresh.paths.root / "predictions/echo/a/one.fingerprint.json").read_text())
    content["parts"]["adapter_source"] = now["parts"]["adapter_source"]
    source.write_text(json.dumps(content))
    job = attempt(jobs, whole.paths.root)
    ran = job.run()
    assert ran.code == 0, ran
    assert reason(job) == f"scored: all {SAMPLES} samples were predicted before"


def test_lines_that_were_changed_after_they_were_complete_are_made_again(jobs, whole):
    """A source vouches for its lines by its marker: what is not as it says is asked again, and nothing else."""
    file = whole.paths.root / "predictions/echo/a/one.jsonl"
    file.write_text(file.read_text().replace('"prediction":3,', '"prediction":4,'))
    job = attempt(jobs, whole.paths.root)
    ran = job.run()
    assert ran.code == 0, ran
    assert [*jobs.asked_for()] == ["3"]
    assert job.result("a", "one")["metrics"] == whole.result("a", "one")["metrics"]


def test_what_changed_since_the_run_is_told(jobs, whole):
    """The attempt is new; its pair is not: whoever reads why it was made again learns what changed."""
    stand_in(jobs, whole, jobs.run.root, SAMPLES)
    (jobs.project.suite / "a.bin").write_text("other weights")
    job = attempt(jobs, jobs.run.root)
    ran = job.run()
    assert ran.code == 0, ran
    assert reason(job) == "re-run: model changed"
    assert len(jobs.asked_for()) == SAMPLES


@pytest.fixture
def writing(jobs):
    (jobs.project.suite / "model.py").write_text(WRITES)
    outputs = jobs.project.root / "written"
    jobs.project.yaml(["a"], ["one"], params={"outputs": str(outputs)}, metrics=[])
    return jobs


def test_files_that_models_write_are_copied_and_must_be_what_they_were(writing):
    """A line counts with all its files: they lie in the new attempt, and nothing there is shared with the old one."""
    old = writing.write(unit="u009")
    assert old.run().code == 0
    pictures = sorted((old.paths.root / "outputs/echo/a/one").glob("*.png"))
    assert len(pictures) == SAMPLES
    pictures[3].write_bytes(b"of somebody else")
    pictures[4].unlink()
    damaged = {
        json.loads(line)["id"]
        for line in lines_of(old.paths.root).read_text().splitlines()
        if _names(line, pictures[3:5])
    }
    job = attempt(writing, old.paths.root)
    ran = job.run()
    assert ran.code == 0, ran
    assert set(writing.asked_for()) == damaged
    assert len(damaged) == 2
    mine = sorted((job.paths.root / "outputs/echo/a/one").glob("*.png"))
    assert len(mine) == SAMPLES
    assert not {path.stat().st_ino for path in mine} & {path.stat().st_ino for path in pictures if path.exists()}


def _names(line, pictures):
    return any(path.name in line for path in pictures)


def test_shards_take_over_their_ranges(project):
    """A shard asks for what neither the run nor an earlier attempt has of its range, however those were cut."""
    project.make(models=("a",), datasets=("one",), samples=SAMPLES)
    jobs = Jobs(project)
    whole = jobs.write(unit="u009")
    assert whole.run().code == 0
    stand_in(jobs, whole, jobs.run.root, 6)
    project.yaml(["a"], ["one"], shards=2)
    shard, other = cut(project)
    job = attempt(jobs, jobs.run.root, items=(item(jobs, shard), item(jobs, other)))
    ran = job.run()
    assert ran.code == 0, ran
    assert sorted(map(int, jobs.asked_for())) == [*range(6, SAMPLES)]
    again = attempt(jobs, job.paths.root, jobs.run.root, number=10, items=(item(jobs, other),))
    ran = again.run()
    assert ran.code == 0, ran
    assert not jobs.asked_for()
    lines = (again.paths.root / "predictions/echo/a/one/10-20.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [*range(10, 20)]


def cut(project):
    from pytest_evalrun.evaluation.cuts import cut_suite
    from pytest_evalrun.suite.discovery import discover

    (pair,) = cut_suite(discover(project.suite / "evalrun.yaml"), project.root / "hashes.db").pairs
    return pair.shards()


def item(jobs, pair):
    return JobItem(jobs.id(pair.id), pair.full_id, digest_of(pair))
