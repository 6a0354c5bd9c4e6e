"""The session of a job: what its file names and nothing else, told line by line."""

from __future__ import annotations

import json
import os

import pytest
from jobsuite import Jobs

from pytest_evalrun.rundir.jobfiles import JobItem
from pytest_evalrun.rundir.jobs import JobStore, UnitRecord
from pytest_evalrun.suite.clusters import ClusterWords
from pytest_evalrun.suite.digests import digest_of
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.runconfig import command_line_layer


@pytest.fixture
def jobs(project):
    project.make(models=("a", "b"), datasets=("one", "two"), samples=8)
    return Jobs(project)


@pytest.mark.parametrize("workers", [pytest.param(1, id="alone"), pytest.param(2, id="two workers")])
def test_what_the_file_names_is_run_and_told(jobs, workers):
    """A job runs its ids and no others, says that it began, what starts and what came of each, and how it ended."""
    wanted = [jobs.id("b/two"), jobs.id("a/one"), jobs.id("b/one")]
    job = jobs.write(wanted, workers=workers)
    ran = job.run()
    assert ran.code == 0, ran
    assert job.outcomes() == dict.fromkeys(wanted, "passed")
    assert sorted(job.ended) == sorted(wanted)
    if workers == 1:
        assert job.ended == wanted
    kinds = [line["kind"] for line in job.lines]
    assert (kinds[0], kinds[-1], kinds.count("start")) == ("begun", "ended", 3)
    assert job.lines[-1]["code"] == 0
    assert job.result("a", "one")["status"] == "passed"
    told = {(line["event"]["event"], line["event"]["pair"]) for line in job.told("event")}
    assert {("item_finished", "echo/a/one"), ("item_finished", "echo/b/two")} <= told
    assert not {"run_started", "run_finished"} & {event for event, _ in told}


def changed_settings(jobs):
    content = json.loads((jobs.project.suite / "evalrun.yaml").read_text())
    (jobs.project.suite / "evalrun.yaml").write_text(json.dumps(content | {"max_batch_size": 2}))


def without_a_model(jobs):
    content = json.loads((jobs.project.suite / "evalrun.yaml").read_text())
    (jobs.project.suite / "evalrun.yaml").write_text(json.dumps(content | {"models": content["models"][:1]}))


def broken_suite(jobs):
    (jobs.project.suite / "evalrun.yaml").write_text("adapter: [")


@pytest.mark.parametrize("workers", [pytest.param(1, id="alone"), pytest.param(2, id="two workers")])
@pytest.mark.parametrize(
    ("meanwhile", "words"),
    [
        pytest.param(changed_settings, "the settings of echo/a/one changed since", id="settings that changed"),
        pytest.param(without_a_model, "test_pair[b/one] and 1 more not collected any more", id="items that are gone"),
        pytest.param(broken_suite, "evalrun.yaml", id="a suite that cannot be read"),
    ],
)
def test_a_suite_that_changed_is_refused(jobs, meanwhile, words, workers):
    """What the launch has submitted is run, or nothing: the job says what has changed, and makes nothing."""
    job = jobs.write(workers=workers)
    meanwhile(jobs)
    refused(job, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"plugin": "0.0.7"}, "0.0.7 where the job was submitted", id="another plugin"),
        pytest.param({"python": "3.2"}, "3.2 where the job was submitted", id="another Python"),
        pytest.param({"items": (JobItem("evals/gone/evalrun.yaml::test_pair[a]"),)}, "evals/gone", id="no such file"),
        pytest.param(
            {"items": (JobItem(Jobs.id("a/one"), "echo/b/one", "0"),)}, "is not about echo/b/one", id="an edited file"
        ),
    ],
)
def test_what_is_not_the_launch_s_is_refused(jobs, changes, words):
    """Another version, another project or a file that somebody edited is told in one line, before anything is run."""
    refused(jobs.write(**changes), words)


def test_a_damaged_file_is_refused(jobs):
    """A file that is no file of a job says so; who started it learns which."""
    job = jobs.write()
    command = job.command
    job.paths.job.write_text('{"format": 1}')
    refused(job, "nobody edits it", command=command)


def refused(job, words, **how):
    ran = job.run(**how)
    assert ran.code == 78, ran
    (told,) = job.told("refused")
    assert words in told["text"]
    (line,) = [line for line in ran.output.splitlines() if line.startswith("evalrun: the job is refused: ")]
    assert line.endswith(told["text"].splitlines()[0])
    assert [line["kind"] for line in job.lines] == ["refused", "ended"]
    assert not job.jobs.asked.exists()
    assert not (job.paths.root / "predictions").exists()


def test_an_attempt_that_is_not_wanted_any_more_leaves(jobs):
    """A job that starts after the launch has given it up for another runs nothing and says nothing."""
    job = jobs.write()
    store = JobStore(jobs.run.root / "engine" / "jobs.json", ClusterWords("command"))
    store.put(UnitRecord("u001", 4, 4, state="running", current=2))
    store.save()
    ran = job.run()
    assert ran.code == 75, ran
    assert job.lines == []
    assert not jobs.asked.exists()


def test_options_are_those_of_the_file(jobs):
    """What an ini file, a command line or the environment of a node says of our options counts for nothing."""
    (jobs.project.root / "pytest.ini").write_text("[pytest]\neval_batch_size = 3\neval_limit = 1\n")
    with_retries = {"EVALRUN_RETRIES": "7"}
    given = [command_line_layer("--eval-limit", "limit", 5)]
    pairs = discover(jobs.project.suite / "evalrun.yaml", given, (), with_retries)
    (pair,) = [pair for pair in pairs.pairs if pair.id == "a/one"]
    items = (JobItem(jobs.id("a/one"), pair.full_id, digest_of(pair)),)
    job = jobs.write(items=items, options={"eval_limit": 5}, environment=with_retries)
    ran = job.run(EVALRUN_RETRIES="1", EVALRUN_TIMEOUT="0.001", IN_SUBDIR="nowhere")
    assert ran.code == 0, ran
    assert len(job.predictions("a", "one.limit-5")) == 5


def test_a_job_that_is_started_again_goes_on(jobs):
    """What it has reported is not run again; a line that was torn when it was killed costs that item alone."""
    job = jobs.write()
    assert job.run().code == 0
    *lines, last = [line for line in job.paths.reports.read_bytes().splitlines(True) if b'"kind":"item"' in line]
    job.paths.reports.write_bytes(b"".join(lines) + last[:40])
    ran = job.run()
    assert ran.code == 0, ran
    assert job.ended == [*jobs.ids()]
    assert set(jobs.asked_for().values()) == {4}
    again = job.run()
    assert again.code == 5, again
    assert job.ended == [*jobs.ids()]


def test_nothing_of_a_job_lies_in_the_work_directory(jobs):
    """The cache of hashes is a database, and on a shared disk that may be torn: it is made on the node, and removed."""
    temporary = jobs.project.root / "tmp"
    temporary.mkdir()
    job = jobs.write(workers=2)
    ran = job.run(TMPDIR=str(temporary), TEMP=str(temporary))
    assert ran.code == 0, ran
    assert not list(jobs.project.root.rglob("hashes.db*"))
    assert not [path for path in temporary.iterdir() if path.name.startswith("evalrun-")]


OWN_TESTS = """
import pytest

def test_own(evaluation):
    evaluation.record("twice", 2 * evaluation.metrics["exact_match"])
    assert evaluation.pair.task.name != "b", "not b"

@pytest.mark.xfail(reason="known")
def test_expected(pair):
    assert False

def test_skipped(pair):
    pytest.skip("not today")

@pytest.fixture
def falls():
    yield
    raise RuntimeError("at the end")

def test_torn_down(pair, falls):
    pass
"""


def test_tests_of_the_user_s_own_run_in_jobs(jobs):
    """They are told as pytest sees them, with what they recorded, whatever came of them."""
    (jobs.project.suite / "test_own.py").write_text(OWN_TESTS)
    names = [
        "test_own[a/one]",
        "test_own[b/one]",
        "test_expected[a/one]",
        "test_skipped[a/one]",
        "test_torn_down[a/one]",
    ]
    ids = [f"evals/echo/test_own.py::{name}" for name in names]
    pair = {item.id: item for item in jobs.items(jobs.ids())}
    items = tuple(
        JobItem(nodeid, *((own := pair[jobs.id(name.partition("[")[2][:-1])]).pair, own.digest))
        for nodeid, name in zip(ids, names, strict=True)
    )
    job = jobs.write(items=items)
    ran = job.run()
    assert ran.code == 1, ran
    assert job.ended == ids
    outcomes = ["passed", "failed at call", "skipped at call", "skipped at call", "failed at teardown"]
    assert list(job.outcomes().values()) == outcomes
    reports = job.told("item")[0]["reports"]
    assert ["test_own.twice", 2.0] in reports[2]["user_properties"]
    record = job.paths.root / "results/echo/a/one/test_own.json"
    assert json.loads(record.read_text())["values"] == {"twice": 2.0}


def test_a_secret_that_the_node_lacks_is_an_error_of_the_pairs_that_need_it(jobs):
    """It is named with the host, and all others run; what is set there is in no file of the job."""
    content = json.loads((jobs.project.suite / "evalrun.yaml").read_text())
    for model, name in zip(content["models"], ("JOB_TOKEN", "OTHER_TOKEN"), strict=True):
        model["params"] = {"delay": 0, "token": f"${{{name}}}"}
    (jobs.project.suite / "evalrun.yaml").write_text(json.dumps(content))
    model = jobs.project.suite / "model.py"
    model.write_text(model.read_text().replace("delay=0.0", "delay=0.0, token=None"))
    job = jobs.write(secrets=("JOB_TOKEN", "OTHER_TOKEN"))
    ran = job.run(OTHER_TOKEN="a long secret of the node")
    assert ran.code == 1, ran
    assert list(job.outcomes().values()) == ["failed at setup"] * 2 + ["passed"] * 2
    text = json.dumps(job.told("item")[0])
    assert f"the environment variable JOB_TOKEN is not set on {os.uname().nodename}" in text
    assert not [path for path in jobs.run.root.rglob("*") if path.is_file() and b"a long secret" in path.read_bytes()]


def test_a_job_that_only_predicts_tells_of_predictions(jobs):
    """What is judged by models is judged by the launch: the job has made the answers, and says no more."""
    job = jobs.write([jobs.id("a/one")], options={"eval_mode": "infer"})
    ran = job.run()
    assert ran.code == 0, ran
    assert list(job.outcomes().values()) == ["passed"]
    assert len(job.predictions("a", "one")) == 8
    assert not (job.paths.root / "results").exists()
