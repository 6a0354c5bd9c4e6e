"""Exports as their own tools read them: Inspect's reader, data frames and view server; pytest-benchmark's compare."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from contextlib import contextmanager, suppress
from urllib.error import URLError
from urllib.parse import quote

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it is made of
    from inspect_ai.analysis import evals_df, samples_df
    from inspect_ai.log import (
        list_eval_logs,
        read_eval_log,
        read_eval_log_sample_summaries,
        read_eval_log_samples,
        write_eval_log,
    )
    from inspect_ai.scorer import value_to_float

from pytest_evalrun.report.export.benchmark import export_benchmark
from pytest_evalrun.report.export.chosen import SentSample, Sources, choose
from pytest_evalrun.report.export.evalfile import export_inspect
from pytest_evalrun.report.export.target import ExportTarget
from pytest_evalrun.report.sampleinputs import Inputs

pytestmark = pytest.mark.filterwarnings("ignore")
COUNT = 40
LIMIT = 60.0
HOSTILE = "</script><script>alert(1)</script>\u202e\x1b[31m\0 \ud800"
SPECS = {name: {"use": use, "params": {}} for name, use in (("top1", "top1"), ("good", "judge"), ("f1", "f1"))}


def call(name, arguments):
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


def fill(run):
    """A pair of prompts and judges with two answers each, an agent's, a model's of hostile words, one that broke."""
    fingerprint = {"prediction": {"generations": 2}, "score": {"metrics": SPECS}}
    usage = {"requests": 80, "attempts": 80, "currency": "USD", "cost": 0.8}
    metrics = {"top1": 0.5, "good": 0.75, "f1": 0.25}
    run.result("s", "chat", "d", metrics=metrics, total=2 * COUNT, failed=1, fingerprint=fingerprint, usage=usage)
    lines, scores, verdicts = [], [], []
    for place in range(2 * COUNT):
        index, generation = divmod(place, 2)
        tokens = {"input": 10, "output": 2, "cached": 4}
        detail = {"finish_reason": "stop", "usage": tokens, "cost": 0.01, "reasoning": "hm", "request_id": f"r{place}"}
        told = run.line((index, f"answer {place}", "right")) | {"detail": detail, "generation": generation}
        lines.append(told)
        score = {"index": index, "generation": generation, "top1": float(generation), "f1": 0.25, "answer": "x"}
        scores.append(score | {"good": None if place == 1 else 0.75})
        verdicts.append(run.line((place, f"because {place}\nGRADE: 0.75", None)))
    lines[-1] |= {"status": "failed", "error": "timed out", "prediction": None, "detail": None}
    run.predictions("s", "chat", "d", lines)
    run.scores("s", "chat", "d", scores[:-1])
    run.write(
        run.paths.pair(run.key("s", "chat", "d")).judged_verdicts, "".join(json.dumps(one) + "\n" for one in verdicts)
    )
    history = [
        {"role": "system", "content": "Act."},
        {"role": "user", "content": "Go."},
        {"role": "agent", "content": "", "tool_calls": [call("look", "{}"), call("go", "[")]},
        {"role": "tool", "tool_call_id": "c", "name": "look", "content": [{"type": "text", "text": "a wall"}]},
        {"role": "narrator", "content": {"odd": 1}},
        {"role": "agent", "content": "done"},
    ]
    run.result("s", "agent", "d", metrics={"success": 1.0}, total=1, statuses={"completed": 1})
    prediction = {"status": "completed", "result": {"success": True}, "reward": 1.0}
    run.predictions("s", "agent", "d", [run.line((0, prediction, None)) | {"detail": {"history": history, "turns": 2}}])
    run.scores("s", "agent", "d", [{"index": 0, "success": 1.0}])
    run.result("s", "odd", "d", metrics={"rmse": 3.5}, total=2)
    odd = [(0, {HOSTILE: HOSTILE}, [HOSTILE]), (1, 2**70, None)]
    odd_lines = [run.line(one) | {"id": f"{HOSTILE}/../{one[0]}"} for one in odd]
    files = run.paths.pair(run.key("s", "odd", "d"))
    run.write(files.predictions, "".join(json.dumps(one) + "\n" for one in odd_lines))
    run.scores("s", "odd", "d", [{"index": i, "rmse": 3.5} for i in range(2)])
    run.result("s", "broken", "d", status="error", environment={"error": "no model\nat all"}, total=3)
    run.predictions("s", "half", "d", [run.line((0, "a", "b"))])
    run.write(run.paths.pair(run.key("s", "half", "d")).fingerprint, "{}")


def sources(known):
    if known.task != "chat":
        return Sources(Inputs((), lambda: iter([(f"{HOSTILE}/../{i}", {"a": HOSTILE}) for i in range(2)])))
    url = "data:image/png;base64,AAAA"
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
    said = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    return Sources(sent=lambda: (SentSample(f"s{i}", said) for i in range(COUNT)))


@pytest.fixture
def logs(run, tmp_path):
    """The directory of the logs of that run."""
    fill(run)
    target = ExportTarget(tmp_path / "logs", "inspect")
    for _ in export_inspect(choose(run.paths).pairs, "r1", target, sources):
        pass
    return tmp_path / "logs"


def test_the_reader_finds_what_the_run_has(logs):
    """Header, samples and list, each as Inspect's own models have them."""
    log = read_eval_log(str(logs / "s/chat/d.eval"))
    assert (log.status, log.eval.task, log.eval.model, log.eval.config.epochs) == ("success", "s/d", "chat", 2)
    assert (log.results.total_samples, log.results.completed_samples) == (2 * COUNT, 2 * COUNT - 1)
    assert {score.name: score.metrics["value"].value for score in log.results.scores} == {
        "top1": 0.5,
        "good": 0.75,
        "f1": 0.25,
    }
    assert log.stats.model_usage["chat"].input_tokens == 6 * (2 * COUNT - 1)
    assert log.stats.model_usage["chat"].total_cost == pytest.approx(0.01 * (2 * COUNT - 1))
    found = {(sample.id, sample.epoch): sample for sample in log.samples}
    one = found["s0", 1]
    assert [message.role for message in one.messages] == ["system", "user", "assistant"]
    assert [part.type for part in one.messages[1].content] == ["text", "image"]
    assert (one.output.completion, one.output.stop_reason, one.target) == ("answer 0", "stop", "right")
    assert (one.scores["top1"].value, one.scores["good"].explanation) == ("I", "because 0\nGRADE: 0.75")
    assert math.isnan(found["s0", 2].scores["good"].value)
    assert found[f"s{COUNT - 1}", 2].error.message == "timed out"


def test_scores_come_to_what_the_result_says(logs):
    """Right and wrong as Inspect counts them."""
    to_float = value_to_float()
    samples = read_eval_log_samples(str(logs / "s/chat/d.eval"))
    scores = [to_float(sample.scores["top1"].value) for sample in samples if sample.scores]
    assert sum(scores) / len(scores) == pytest.approx((COUNT - 1) / (2 * COUNT - 1))


def test_the_list_is_that_of_the_samples(logs):
    """What is shown of each sample without reading it is what Inspect would have put there."""
    for file in logs.rglob("*.eval"):
        listed = read_eval_log_sample_summaries(str(file))
        samples = read_eval_log(str(file)).samples
        assert {(one.id, one.epoch) for one in listed} == {(one.id, one.epoch) for one in samples}
        theirs = {(one.id, one.epoch): one.summary() for one in samples}
        for ours in listed:
            same = theirs[ours.id, ours.epoch]
            assert (ours.target, ours.error, ours.message_count) == (same.target, same.error, same.message_count)
            assert ours.scores.keys() == same.scores.keys()
            assert ours.model_usage == same.model_usage


def test_a_conversation_is_read(logs):
    """Tools, their results and odd roles too."""
    (sample,) = read_eval_log(str(logs / "s/agent/d.eval")).samples
    roles = [message.role for message in sample.messages]
    assert roles == ["system", "user", "assistant", "tool", "user", "assistant"]
    look, go = sample.messages[2].tool_calls
    assert (look.function, look.arguments, go.parse_error) == ("look", {}, "the arguments are no JSON object")
    assert (sample.output.completion, sample.messages[3].text) == ("done", "a wall")


def test_odd_content_stays_what_it_is(logs):
    """Whatever a model wrote: ids lead nowhere, texts are texts."""
    samples = read_eval_log(str(logs / "s/odd/d.eval")).samples
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", str(sample.id)) for sample in samples)
    assert samples[0].metadata["index"] in (0, 1)
    assert any("<script>" in sample.output.completion for sample in samples)


def test_states_are_inspects(logs):
    """An ERROR is one, with its reason; what was interrupted is cancelled, and its samples can be read."""
    broken, half = (read_eval_log(str(logs / f"s/{name}/d.eval")) for name in ("broken", "half"))
    assert (broken.status, broken.error.message) == ("error", "no model\nat all")
    assert (half.status, len(half.samples)) == ("cancelled", 1)


def test_a_log_is_written_again(logs, tmp_path):
    """Inspect can write what it has read, and reads the same."""
    for file in logs.rglob("*.eval"):
        log = read_eval_log(str(file))
        again = tmp_path / "again.eval"
        write_eval_log(log, str(again))
        assert len(read_eval_log(str(again)).samples) == len(log.samples)


def test_data_frames(logs):
    """Logs and samples as tables, as people compare models with them."""
    evals = evals_df(str(logs), quiet=True)
    assert sorted(evals["model"]) == ["agent", "broken", "chat", "half", "odd"]
    samples = samples_df(str(logs / "s/chat"), quiet=True)
    assert len(samples) == 2 * COUNT
    assert set(samples["score_top1"].dropna()) == {"C", "I"}


@contextmanager
def viewing(directory):
    """Inspect's view server over a directory; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["view", "start", "--log-dir", str(directory), "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-c", "from inspect_ai._cli.main import main; main()", *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=env) as server:
        try:
            yield f"http://127.0.0.1:{port}/api"
        finally:
            server.terminate()


def fetched(address):
    deadline = time.monotonic() + LIMIT
    while True:
        with suppress(URLError, ConnectionError), urllib.request.urlopen(address, timeout=LIMIT) as answer:
            return json.load(answer)
        assert time.monotonic() < deadline, address
        time.sleep(0.05)


def test_the_view_server_shows_them(logs):
    """The list of logs, the head of one and the whole of one, as its page asks for them."""
    assert len(list_eval_logs(str(logs))) == 5
    with viewing(logs) as address:
        files = {one["name"]: one for one in fetched(f"{address}/logs")["files"]}
        assert {one["task"] for one in files.values()} == {"s/d"}
        (name,) = (name for name in files if name.endswith("chat/d.eval"))
        head = fetched(f"{address}/logs/{quote(name, safe='')}?header-only=0")
        assert head["results"]["scores"][0]["name"] == "top1"
        whole = fetched(f"{address}/logs/{quote(name, safe='')}")
        assert len(whole["samples"]) == 2 * COUNT


def test_pytest_benchmark_compares(run, tmp_path):
    """Two runs side by side, models of a dataset in one table."""
    for name, slower in (("fast", 1), ("slow", 3)):
        run.result("s", name, "d", metrics={"top1": 0.5}, total=5, timing=2)
        lines = [run.line((i, "p", "r")) | {"seconds": slower * (i + 1) / 1000} for i in range(5)]
        run.predictions("s", name, "d", lines)
    for file in ("before.json", "after.json"):
        export_benchmark(choose(run.paths).pairs, run.paths, tmp_path / file)
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "before.json", "after.json", "--csv=out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "benchmark 's/d': 4 tests" in done.stdout
    table = (tmp_path / "out.csv").read_text().splitlines()
    assert len(table) == 5 and "s/fast/d" in table[1]


def test_statistics_are_pytest_benchmarks(run, tmp_path):
    """Each of them, over the same seconds."""
    from pytest_benchmark.stats import Stats

    from pytest_evalrun.report.export.benchmark import statistics_of

    for n in (1, 2, 3, 4, 5, 6, 7, 8, 50, 101):
        data = [((i * 7919) % 1009 + 1) ** 2 / 1e6 for i in range(n)]
        stats = Stats()
        for value in data:
            stats.update(value)
        theirs, ours = stats.as_dict(), statistics_of(data)
        assert theirs.keys() | {"iterations"} == ours.keys()
        for name, value in theirs.items():
            assert ours[name] == (value if isinstance(value, str) else pytest.approx(value)), (n, name)
