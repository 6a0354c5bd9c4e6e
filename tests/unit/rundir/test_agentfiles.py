"""The files of an agent and its task: AgentBench's formats, whatever tears them, and whoever reads them."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalrun.agents.statuses import Fault, SampleStatus
from pytest_evalrun.errors import SampleError
from pytest_evalrun.rundir.agentfiles import AgentFiles, read_sessions
from pytest_evalrun.rundir.agentoverall import is_whole, read_overall
from pytest_evalrun.rundir.agentruns import RUN_STATUSES, finished_runs, task_outputs
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.predictions import Line
from pytest_evalrun.suite.pairs import PairKey
from pytest_evalrun.suite.secrets import Secrets

KEY = PairKey("s", "agent", "os-std")
DONE = {"status": "completed", "result": {"answer": "七"}}
SAID = {"turns": 1, "history": [{"role": "user", "content": "go"}, {"role": "agent", "content": "é"}]}
SECRET = "sk-0123456789abcdef"


@pytest.fixture
def disk():
    disk = Disk()
    yield disk
    disk.close()


@pytest.fixture
def paths(tmp_path):
    return RunPaths(tmp_path / "run").pair(KEY)


@pytest.fixture
def files(paths, disk):
    files = AgentFiles(paths, disk, Secrets((SECRET,)))
    yield files
    files.close(at_once=True)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_run_is_agentbenchs_line(files, paths):
    """A sample that has ended is the line that AgentBench's assigner writes, key by key and in its order."""
    files.run(38, DONE, SAID, at=1_700_000_000.5)
    raw = paths.agent.runs.read_text()
    line = json.loads(raw)
    assert list(line) == ["index", "error", "info", "output", "time"]
    assert list(line["output"]) == ["index", "status", "result", "history"]
    assert line["time"].pop("str").startswith("2023-11-1")
    assert line == {
        "index": 38,
        "error": None,
        "info": None,
        "output": {"index": 38, **DONE, "history": SAID["history"]},
        "time": {"timestamp": 1_700_000_000_500},
    }
    assert raw.isascii() and raw.startswith('{"index": 38, "error": null')  # read in whatever encoding


def test_error_says_why_in_agentbenchs_word(files, paths):
    """What came to nothing is in error.jsonl alone, with the word, the text and how far it had come."""
    files.error("a", Fault.NETWORK_ERROR, "connection refused")
    files.error(7, Fault.AGENT_FAILED, "boom", {"index": 7, "status": "running", "result": None, "history": []})
    one, other = lines_of(paths.agent.errors)
    assert (one["index"], one["error"], one["info"], one["output"]) == (
        "a",
        "NETWORK_ERROR",
        "connection refused",
        None,
    )
    assert (other["error"], other["output"]["status"]) == ("AGENT_FAILED", "running")
    assert not paths.agent.runs.exists()


def test_statuses_are_those_of_agents():
    """What a run may end as is what the protocol of agents knows, but for AgentRL's own word."""
    assert {*RUN_STATUSES} == {status.value for status in SampleStatus} - {"cancelled"}


def test_secrets_are_blanked_in_all_of_them(files, paths):
    """No file holds a secret: what agents say, why they failed, what is run."""
    files.run(1, {"status": "completed", "result": SECRET}, {"history": [{"role": "agent", "content": SECRET}]})
    files.error(2, "AGENT_FAILED", f"key {SECRET}", {"index": 2, "status": "running", "history": [SECRET]})
    files.config(f"key: {SECRET}\n")
    for path in (paths.agent.runs, paths.agent.errors, paths.agent.config):
        assert SECRET not in path.read_text()
        assert "***" in path.read_text()


@pytest.mark.parametrize("result", [float("nan"), {1, 2}], ids=["NaN", "a set"])
def test_what_json_does_not_have_is_the_samples_error(files, paths, result):
    """It fails the sample, which is named, and nothing of it is written."""
    with pytest.raises(SampleError, match="sample 3: what the task answered cannot be kept"):
        files.run(3, {"status": "completed", "result": result}, SAID)
    assert not paths.agent.runs.exists()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_torn_file_costs_nothing_that_was_whole(tmp_path_factory, data):
    """Cut anywhere, the file goes on with a line of its own: whole runs are all read back, only the torn one is not."""
    paths = RunPaths(tmp_path_factory.mktemp("torn")).pair(KEY)
    disk = Disk()
    results = data.draw(st.lists(st.text(max_size=20), min_size=1, max_size=6))
    files = AgentFiles(paths, disk)
    for index, result in enumerate(results):
        files.run(index, {"status": "completed", "result": result}, SAID)
    files.close()
    raw = paths.agent.runs.read_bytes()
    cut = data.draw(st.integers(0, len(raw)))
    paths.agent.runs.write_bytes(raw[:cut])
    whole = [run.index for run in finished_runs(paths.agent.directory)]
    assert whole == list(range(sum(end <= cut for end in ends_of(raw))))
    again = AgentFiles(paths, disk)
    again.run("next", DONE, SAID)
    again.close()
    disk.close()
    runs = finished_runs(paths.agent.directory)
    assert [run.index for run in runs] == [*whole, "next"]
    assert runs.damaged == 0


def ends_of(raw):
    """Where each line is whole, its newline apart."""
    return [place for place, byte in enumerate(raw) if byte == ord("\n")]


def test_line_glued_to_a_torn_one_is_read(tmp_path):
    """AgentBench goes on right behind what a crash has torn: that costs the torn run alone."""
    good = json.dumps({"index": 2, "error": None, "info": None, "output": {"index": 2, **DONE, "history": []}})
    (tmp_path / "runs.jsonl").write_text(
        '{"index": 1, "error": null, "output": {"index": 1, "sta' + good + "\n[]\n\xff\n"
    )
    runs = finished_runs(tmp_path)
    assert [run.index for run in runs] == [2]
    assert runs.damaged == 3


@pytest.mark.parametrize(
    ("change", "damaged", "unfinished"),
    [
        ({"output": {"status": "running"}}, 0, 1),
        ({"output": {"status": "task error"}}, 0, 1),
        ({"output": {"status": "won"}}, 1, 0),
        ({"output": None}, 1, 0),
        ({"output": {"status": "completed", "history": "x"}}, 1, 0),
        ({"index": None}, 1, 0),
        ({"index": True}, 1, 0),
        ({"error": "START_FAILED"}, 1, 0),
    ],
    ids=["running", "task error", "no such status", "no output", "odd history", "no index", "odd index", "an error"],
)
def test_what_has_not_ended_is_no_run(tmp_path, change, damaged, unfinished):
    """A line counts only where a sample has ended, as what the agent did."""
    line = {"index": 1, "error": None, "info": None, "output": {"index": 1, **DONE, "history": None}} | change
    (tmp_path / "runs.jsonl").write_text(json.dumps(line) + "\n")
    runs = finished_runs(tmp_path)
    assert list(runs) == []
    assert (runs.damaged, runs.unfinished) == (damaged, unfinished)


@pytest.mark.parametrize(("generations", "kept"), [(1, ["b"]), (2, ["a", "b"])])
def test_last_runs_of_an_index_count(files, paths, generations, kept):
    """Of an index that was asked twice the last one counts; of several generations as many as there are."""
    for result in ("lost", "a", "b"):
        files.run(1, {"status": "completed", "result": result}, SAID)
    files.run(2, DONE, SAID)
    outputs = task_outputs(paths.agent.directory, generations)
    assert [output["result"] for output in outputs] == [*kept, DONE["result"]]


def test_threads_do_not_mix_lines(files, paths):
    """Samples end in many threads: each line is whole."""

    def end(first):
        for index in range(first, first + 50):
            files.run(index, DONE, SAID)

    threads = [threading.Thread(target=end, args=(first,)) for first in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["index"] for line in lines_of(paths.agent.runs)) == list(range(200))


def test_kept_answers_without_a_run_get_theirs(files, paths):
    """What a power cut took of runs.jsonl is written again from predictions; what failed has none."""
    files.run(10, DONE, SAID)
    lines = [
        Line(place, str(index), status, DONE, None, None, 1.0, SAID | {"index": index, "ended": 1_700_000_000.0})
        for place, (index, status) in enumerate([(10, "ok"), (11, "ok"), (12, "failed"), (11, "ok")])
    ]
    assert files.settle(lines) == 2
    runs = lines_of(paths.agent.runs)
    assert [line["index"] for line in runs] == [10, 11, 11]
    assert runs[1]["time"]["timestamp"] == 1_700_000_000_000
    assert files.settle(lines) == 0


def wait_for(found):
    """Poll until it is there."""
    pause = threading.Event()
    for _ in range(2000):
        if (value := found()) is not None:
            return value
        pause.wait(0.005)
    raise AssertionError("it did not come")


def test_overall_is_there_from_the_first_sample_on(files, paths):
    """It has AgentBench's fields, with coverage, after one sample of three; and at the end it is of all."""
    files.keep_overall(3, lambda results: {"score": len(results)})
    files.run(1, DONE, SAID)
    first = wait_for(lambda: read_overall(paths.agent.overall))
    assert (first["coverage"], first["custom"]) == ({"finished": 1, "total": 3}, {"score": 1})
    assert not is_whole(first)
    files.run(2, {"status": "task limit reached", "result": None}, {"history": []})
    files.run(3, DONE, SAID)
    files.close()
    told = read_overall(paths.agent.overall)
    assert list(told) == ["total", "validation", "custom", "coverage"]
    assert list(told["validation"]) == [
        *RUN_STATUSES,
        "average_history_length",
        "max_history_length",
        "min_history_length",
    ]
    assert told["validation"]["completed"] == 2 / 3
    assert told["validation"]["task limit reached"] == 1 / 3
    assert (told["validation"]["max_history_length"], told["validation"]["min_history_length"]) == (2, 0)
    assert (told["total"], told["custom"], told["coverage"]) == (3, {"score": 3}, {"finished": 3, "total": 3})
    assert is_whole(told)


def test_task_that_cannot_add_up_costs_its_own_part_alone(files, paths):
    """Where calculate_overall fails, the rest is there, and why is said once."""
    said = []

    def fail(results):
        raise RuntimeError("no data")

    files.keep_overall(1, fail, say=said.append)
    files.run(1, DONE, SAID)
    files.close()
    told = read_overall(paths.agent.overall)
    assert (told["total"], told["custom"], told["custom_error"]) == (1, None, "RuntimeError: no data")
    assert not is_whole(told)
    assert said == ["overall.json: the task did not say what it says of all samples: RuntimeError: no data"]


def test_overall_that_a_kill_left_partial_is_made_whole(paths, disk):
    """A launch that finds all samples done, but not what the task says of them, asks it."""
    first = AgentFiles(paths, disk)
    first.keep_overall(2, lambda results: len(results))
    for index in (1, 2):
        first.run(index, DONE, SAID)
    first.close(at_once=True)
    again = AgentFiles(paths, disk)
    again.keep_overall(2, lambda results: len(results))
    again.close()
    assert is_whole(read_overall(paths.agent.overall))


def test_task_that_is_left_changes_nothing(files, paths):
    """Who ends at once waits for nobody, and what the task fails at then is not kept."""
    asked, left, answered = threading.Event(), threading.Event(), threading.Event()

    def calculate(results):
        asked.set()
        left.wait(60)
        answered.set()
        raise ConnectionError("nobody is there")

    files.keep_overall(2, calculate)
    before = {*threading.enumerate()}
    files.run(1, DONE, SAID)
    assert asked.wait(60)
    (writer,) = [each for each in threading.enumerate() if each not in before and each.name == "evalrun-overall"]
    files.close(at_once=True)
    left.set()
    writer.join(60)
    assert (answered.is_set(), paths.agent.overall.exists()) == (True, False)


def test_overall_is_not_written_for_every_sample(files):
    """How often the task is asked does not grow with the samples: by a half, and not twice within two seconds."""
    asked = []
    files.keep_overall(500, lambda results: asked.append(len(results)) or len(results))
    for index in range(500):
        files.run(index, DONE, SAID)
    files.close()
    assert asked[-1] == 500
    assert len(asked) < 50


def test_task_that_says_nothing_is_asked_once(files, paths):
    """Its results are not sent to it again and again, and what is counted is of all samples."""
    asked = []
    files.keep_overall(40, lambda results: asked.append(len(results)))
    files.run(0, DONE, SAID)
    wait_for(lambda: asked or None)
    for index in range(1, 40):
        files.run(index, DONE, SAID)
    files.close()
    told = read_overall(paths.agent.overall)
    assert (len(asked), told["total"], told["custom"], is_whole(told)) == (1, 40, None, True)


def test_sessions_are_the_owners_alone_and_go_at_the_end(files, paths):
    """Nobody else may read the address with its token; the last rows are those that are read; at the end none are."""
    for count in range(20):
        files.sessions("http://127.0.0.1:5000/t/x/api", [{"index": 1, "turn": count}])
    wait_for(
        lambda: (read_sessions(paths.agent.sessions) or {"sessions": [{}]})["sessions"][0].get("turn") == 19 or None
    )
    assert stat.S_IMODE(paths.agent.sessions.stat().st_mode) == 0o600
    files.close()
    assert not paths.agent.sessions.exists()
    assert read_sessions(paths.agent.sessions) is None


def test_files_lie_where_the_layout_says(paths):
    """agents/<suite>/<agent>/<task>/, with AgentBench's names."""
    assert paths.agent.runs.relative_to(paths.run) == Path("agents/s/agent/os-std/runs.jsonl")
