"""Jobs on a cluster as people see them: called as there, where they run, how long they waited, and for what."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pytest_evalrun.cli.show import app
from pytest_evalrun.monitor.frame import View, frame, page
from pytest_evalrun.monitor.jobs import job_lines, jobs_of, shown_jobs
from pytest_evalrun.monitor.renderer import UNICODE, Renderer, plain
from pytest_evalrun.monitor.tree import TreeView
from pytest_evalrun.report.text import display_width
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.jobs import AttemptRecord, JobStore, UnitRecord, read_jobs
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.suite.clusters import ClusterWords

PEN = Renderer(UNICODE, "utf-8")
NOW = 1_764_357_600.0


def at(seconds):
    """A time so many seconds ago."""
    return utc_time(at=NOW - seconds)


def attempt(number, handle=None, phase="waiting", **facts):
    return AttemptRecord(number, f"evalrun-{number}", handle, phase, **facts)


RUNS = attempt(1, "4711_1", "running", node="n2", submitted=at(800), started=at(720))
WAITS = attempt(1, "4711_3", reason="Resources \x1b[2J", submitted=at(2400))
ENDED = attempt(1, "4711_4", "done", code=0, node="n1", submitted=at(900), started=at(890), ended=at(290))
LOST = attempt(1, "4711_2", "lost", node="n4", reason="NodeFail", submitted=at(900), over=True)
SECOND = attempt(2, "4790", "running", node="n3", submitted=at(60), started=at(60))
UNITS = (
    UnitRecord("u001", 8, 0, state="done", attempts=(ENDED,)),
    UnitRecord("u002", 12, 8, state="running", attempts=(RUNS,), resources={"gpus": 2}),
    UnitRecord("u003", 4, 4, state="waiting", attempts=(WAITS,)),
    UnitRecord("u004", 4, 3, state="waiting", current=2, attempts=(LOST,)),
    UnitRecord("u005", 2, 2, state="running", current=2, attempts=(LOST, SECOND)),
    UnitRecord("u006", 1, 1, state="waiting", attempts=(attempt(1),)),
)


def submit(paths, units=UNITS):
    """Write jobs.json as a launch does."""
    file = EnginePaths(paths).jobs_json
    file.parent.mkdir(exist_ok=True)
    store = JobStore(file, ClusterWords("slurm"))
    for unit in units:
        store.put(unit)
    store.save()


def test_a_table_has_what_runs_first_and_why_others_wait(run):
    """The cluster's own words, made safe to show; a second attempt says so, and what became of the one before."""
    submit(run.paths)
    shown = shown_jobs(read_jobs(run.paths), NOW)
    assert shown.title == "Jobs on slurm (2 running, 3 waiting, 1 done)"
    assert job_lines(shown.jobs) == [
        "unit    job     state            node  queued     ran  items  why",
        "u002    4711_1  running          n2     1 min  12 min   4/12",
        "u005/2  4790    running          n3       0 s   1 min    0/2",
        "u003    4711_3  waiting          -     40 min       -    0/4  Resources \\x1b[2J",
        "u004/2  -       to be submitted  -          -       -    1/4  again after lost: NodeFail",
        "u006    -       waiting          -          -       -    0/1",
        "u001    4711_4  done             n1      10 s  10 min    8/8",
    ]
    assert [job.unit for job in shown.living] == ["u002", "u005", "u003", "u004", "u006"]


def test_a_unit_that_has_told_everything_is_done(run):
    """A launch does not wait until the cluster says that a job is over which has said so itself: it does not run."""
    submit(run.paths, [UnitRecord("u001", 8, 0, state="done", attempts=(RUNS,))])
    assert [job.state for job in shown_jobs(read_jobs(run.paths), None).jobs] == ["done"]


def test_without_a_launch_they_stand_as_it_has_left_them(run):
    """Nobody asks the cluster any more: no time goes on, and the title says of when it speaks."""
    submit(run.paths)
    record = read_jobs(run.paths)
    shown = shown_jobs(record, None)
    assert shown.title.startswith(f"Jobs on slurm at {record.saved} (2 running")
    assert jobs_of(run.paths).title == shown.title
    run.start()
    assert jobs_of(run.paths).title.startswith("Jobs on slurm (2 running")


def edited(**facts):
    """A file of which somebody has changed a unit."""
    unit = {"items": 1, "left": 0, **facts}
    return json.dumps({"format": 1, "serial": 1, "engine": {"engine": "slurm"}, "saved": "", "units": {"u001": unit}})


@pytest.mark.parametrize(
    "content",
    [None, "", "[]", '{"format": 2}', '{"format": 1, "units": 3}', edited(left="none"), edited(state=["done"])],
    ids=["no file", "empty", "a list", "a later format", "no units", "text for a number", "a list for a word"],
)
def test_where_there_are_none_or_none_that_can_be_read_nothing_is_shown(run, reader, content):
    """A monitor goes on, whatever lies there."""
    file = EnginePaths(run.paths).jobs_json
    if content is not None:
        file.parent.mkdir()
        file.write_text(content)
    assert jobs_of(run.paths) is None
    snapshot = reader.look()
    assert (snapshot.jobs, snapshot.to_json()["jobs"]) == (None, None)
    assert "Jobs" not in drawn(snapshot)


def test_odd_words_of_a_record_are_shown_as_text(run):
    """A cluster's id may have been a number; a time that is none is not known."""
    odd = {"number": 1, "name": "x", "handle": 4711, "node": 7, "phase": "running", "submitted": "soon", "started": 3}
    file = EnginePaths(run.paths).jobs_json
    file.parent.mkdir()
    file.write_text(edited(state="running", attempts=[odd]))
    assert job_lines(jobs_of(run.paths).jobs)[1].split() == ["u001", "4711", "running", "7", "-", "-", "1/1"]


def drawn(snapshot, size=(120, 30), view=None):
    return "\n".join(plain(line) for line in frame(snapshot, TreeView(snapshot.tasks), view or View(), PEN, size))


def test_the_monitor_shows_jobs_that_are_not_over(run, reader):
    """What is written anew is seen at the next look; the filter finds a job by its name at the cluster or its node."""
    run.start()
    submit(run.paths, UNITS[:1])
    assert "Jobs on slurm (1 done)" in drawn(reader.look())
    submit(run.paths, [UnitRecord("u003", 4, 4, state="waiting", attempts=(WAITS,)), *UNITS[:2]])
    text = drawn(reader.look())
    assert "Jobs on slurm (1 running, 1 waiting, 1 done)" in text
    assert "u002 running 4711_1 queued 1 min n2 ran " in " ".join(text.split())
    assert "Resources \\x1b[2J" in text
    assert "u001" not in text
    found = drawn(reader.look(), view=View(needle="4711_3"))
    assert ("u003" in found, "u002" in found) == (True, False)
    assert "Jobs" not in drawn(reader.look(), view=View(needle="nothing is called so"))


def test_many_jobs_leave_room_for_the_rest(run, reader):
    """A thousand that wait are counted; a page lists the first, and says how many more there are."""
    run.start()
    submit(run.paths, [UnitRecord(f"u{number:03d}", 1, 1, state="waiting") for number in range(1, 1001)])
    snapshot = reader.look()
    assert "Jobs on slurm (1000 waiting)" in drawn(snapshot, (80, 24))
    assert "Tasks" in drawn(snapshot, (80, 24))
    lines = [plain(line).strip() for line in page(snapshot, TreeView(snapshot.tasks), PEN, 100)]
    assert sum("to be submitted" in line for line in lines) == 20
    assert "and 980 more" in lines
    sizes = [(width, height) for width in (1, 7, 60, 200) for height in (1, 5, 40)]
    for width, height in sizes:
        found = frame(snapshot, TreeView(snapshot.tasks), View(), PEN, (width, height))
        assert [display_width("".join(text for text, _ in line)) for line in found] == [width] * height


def evalrun(*words):
    """What the command prints, and its exit code."""
    ended = CliRunner().invoke(app, [str(word) for word in words])
    return ended.exit_code, ended.output


def test_list_has_them_as_a_table_and_as_json(run):
    """``--jobs`` lists all, those that are over too; seconds are numbers for programs."""
    submit(run.paths)
    code, out = evalrun("list", run.paths.root, "--jobs")
    assert code == 0
    assert out.splitlines()[0].endswith("(2 running, 3 waiting, 1 done)")
    assert len(out.splitlines()) == 8
    content = json.loads(evalrun("list", run.paths.root, "--jobs", "--json")[1])
    assert content["counts"] == {"running": 2, "waiting": 3, "done": 1, "failed": 0, "cut": 0, "left": 0}
    assert (content["engine"], content["live"]) == ("slurm", False)
    job = next(job for job in content["jobs"] if job["unit"] == "u002")
    assert (job["job"], job["state"], job["node"], job["queued"], job["gpus"]) == ("4711_1", "running", "n2", 80.0, 2)


def test_list_shows_those_that_are_not_over_below_the_pairs(run):
    """Not beside a selection of pairs, and not to programs, which ask for them by name."""
    submit(run.paths)
    code, out = evalrun("list", run.paths.root, "--no-why")
    assert code == 0
    assert "echo/a" in out.split("Jobs on slurm at ")[0].replace("\n  ", "/")
    assert "u005/2  4790    running" in out
    assert "u001" not in out
    assert "Jobs on" not in evalrun("list", run.paths.root, "--no-why", "--failed")[1]
    assert isinstance(json.loads(evalrun("list", run.paths.root, "--no-why", "--json")[1]), list)


def test_list_without_jobs_says_so(run):
    """A run of this machine alone; for programs it is null."""
    assert evalrun("list", run.paths.root, "--jobs") == (0, "run 20261121_103015 has no jobs on a cluster\n")
    assert evalrun("list", run.paths.root, "--jobs", "--json") == (0, "null\n")
