"""The other ways to ask a program, and the other things that it may leave: batches, servers, files, metrics."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from pytest_evalrun.children import handle
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.life import evaluate
from pytest_evalrun.predicting import loop, ranges
from pytest_evalrun.predicting.services import GpuMemory
from pytest_evalrun.programs.results import TICK_SECONDS, is_older, read_metrics
from pytest_evalrun.rundir.shards import read_ranges

BATCH = """
import json, sys

out, listed, *inputs = sys.argv[1:]
samples = [json.loads(line) for line in open(listed)]
assert [json.loads(word) for word in inputs] in ([], samples)
with open("batches.txt", "a") as file:
    file.write(" ".join(sample["id"] for sample in samples) + "\\n")
if any(sample["id"] == "s3" for sample in samples) and "bad" in out:
    sys.exit("no s3 please")
with open(out, "w") as file:
    for sample in samples:
        file.write(json.dumps({"id": sample["id"], "answer": sample["input"]}) + "\\n")
"""
SERVER = """
import json, sys

print("up", file=sys.stderr, flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "close":
        break
    if message["type"] == "load":
        with open("loads.txt", "a") as file:
            file.write(json.dumps([message["params"], sys.argv[1:]]) + "\\n")
        print(json.dumps({"type": "ready"}), flush=True)
        continue
    answers = [sample["input"] for sample in message["batch"]]
    print(json.dumps({"type": "predictions", "predictions": answers}), flush=True)
"""
FILES = """
import json, os, sys

out, rows = sys.argv[1], [json.loads(line) for line in open(sys.argv[2])]
for row in rows:
    if row["id"] != os.environ.get("WITHOUT"):
        with open(f"{out}/{row['id']}.txt", "w") as file:
            file.write(str(row["x"]))
"""


@pytest.fixture
def bench(shop):
    for name, text in (("batch.py", BATCH), ("server.py", SERVER), ("files.py", FILES)):
        (shop.root / name).write_text(text)
    shop.data()
    return shop


def program(shop, name, *words, **settings):
    command = [sys.executable, f"{name}.py", *words]
    return shop.pair(**({"adapter": "command", "command": command} | settings))


def batch(shop, out="{output}/answers.jsonl", *words, **settings):
    results = {"jsonl": out, "prediction": "answer"}
    return program(shop, "batch", out, "{batch}", *words, ask="batch", results=results, **settings)


def predictions(evaluator):
    path = evaluator.run / "predictions" / "letters" / "echo" / "clean.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("words", [(), ("{inputs}",)], ids=["listed", "arguments"])
def test_once_a_batch(bench, evaluator, words):
    """The program is started for each batch, whose samples it finds in a file and, if it wants, in its arguments."""
    assert evaluator(batch(bench, "{output}/answers.jsonl", *words, max_batch_size=4)).metrics == {"exact_match": 1.0}
    assert (bench.root / "batches.txt").read_text() == "s0 s1 s2 s3\ns4 s5\n"


def test_a_batch_that_fails_is_split(bench, evaluator):
    """A program that fails costs the samples only with which it fails; the reason is what it wrote."""
    with pytest.raises(PairError, match=r"(?s)1 of 6 samples failed.*exit code 1.*no s3 please"):
        evaluator(batch(bench, "{output}/bad.jsonl", max_batch_size=4))
    assert [line["status"] for line in predictions(evaluator)].count("ok") == 5


def test_server_stays(bench, evaluator):
    """A server is loaded once for all datasets of its model, and told its parameters."""
    bench.data("noisy", count=4)
    context = evaluator.context()
    for dataset in ("clean", "noisy"):
        pair = program(bench, "server", "{k}", dataset=dataset, ask="server", params={"k": 3})
        assert evaluate(pair, context).metrics == {"exact_match": 1.0}
    assert (bench.root / "loads.txt").read_text() == '[{"k": 3}, ["3"]]\n'


def test_server_that_died_is_started_again(bench, evaluator):
    """What a dead server was asked is asked of a new one, as often as the launch allows."""
    text = SERVER.replace(
        "    answers =", "    import os\n    os.path.exists('x') or (open('x', 'w'), os.abort())\n    answers ="
    )
    (bench.root / "server.py").write_text(text)
    assert evaluator(program(bench, "server", ask="server")).metrics == {"exact_match": 1.0}
    assert len((bench.root / "loads.txt").read_text().splitlines()) == 2


WAYS = {
    "pair": lambda bench: program(
        bench, "files", "{output}", "{dataset}", results={"files": "{id}.txt"}, metrics=[], retries=1
    ),
    "batch": lambda bench: batch(bench, retries=1),
    "server": lambda bench: program(bench, "server", ask="server"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_program_that_was_not_started_is_started_again(bench, evaluator, monkeypatch, way):
    """A supervisor that dies while a program starts costs a try, and not the pair."""
    starts, run = [], handle.SupervisorHandle.run

    def killed(self, *order):
        starts.append(self.pid)
        if len(starts) == 1:
            os.kill(self.pid, signal.SIGKILL)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        run(self, *order)

    monkeypatch.setattr(handle.SupervisorHandle, "run", killed)
    monkeypatch.setattr(ranges, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(loop, "BACKOFF_SECONDS", 0.0)
    evaluator(way(bench))
    assert [line["status"] for line in predictions(evaluator)] == ["ok"] * 6
    assert len(set(starts)) == 2


NO_FILES = {"too long": "a" * 300, "a loop": "loop", "below a file": "batch.py/x", "in a closed directory": "closed/x"}


@pytest.mark.parametrize("word", NO_FILES.values(), ids=NO_FILES)
def test_words_that_are_no_file_are_words(bench, evaluator, word):
    """A word of a command may be longer than any file's name, or lead nowhere: it is handed on."""
    (bench.root / "loop").symlink_to("loop")
    (bench.root / "closed").mkdir(mode=0)
    assert evaluator(program(bench, "server", word, ask="server")).metrics == {"exact_match": 1.0}
    assert json.loads((bench.root / "loads.txt").read_text())[1] == [word]


def test_files_by_name(bench, evaluator):
    """Files in the output directory are predictions of the samples whose names they bear; one that lacks is named."""
    pair = program(bench, "files", "{output}", "{dataset}", results={"files": "{id}.txt"}, metrics=[])
    evaluator(pair)
    assert [line["prediction"]["file"] for line in predictions(evaluator)] == [f"s{i}.txt" for i in range(6)]
    lacking = program(
        bench, "files", "{output}", "{dataset}", results={"files": "{id}.txt"}, metrics=[], env={"WITHOUT": "s2"}
    )
    with pytest.raises(PairError, match=r"sample s2: the program wrote no file .*s2\.txt"):
        evaluator(lacking)


def test_stale_files_are_no_results(bench, evaluator):
    """What lay in an output directory before is not taken for what the program has just made."""
    out = bench.root / ".out" / "echo" / "clean"
    settings = {"results": {"files": "{id}.txt"}, "metrics": [], "out_subdir": ".out"}
    evaluator(program(bench, "files", "{output}", "{dataset}", **settings))
    assert (out / "s2.txt").read_text() == "2"
    while not is_older(out / "s2.txt", time.time()):  # the clock of files ticks slower than two programs follow here
        time.sleep(TICK_SECONDS)
    with pytest.raises(PairError, match="sample s2: the program wrote no file"):
        evaluator(program(bench, "files", "{output}", "{dataset}", env={"WITHOUT": "s2"}, **settings))


def test_metrics_of_the_program(bench, evaluator):
    """Numbers that the program itself reports are the metrics of the pair; gates look at them, and they are reused."""
    text = '{"psnr": 31.5, "loss": {"value": 0.25, "better": "lower", "n": 3}}'
    code = "import sys; open(sys.argv[1] + '/metrics.json', 'w').write(sys.argv[2])"
    settings = {"results": {"metrics": "metrics.json"}, "metrics": [], "gates": {"psnr": {"min": 40}}}
    pair = bench.pair(
        adapter="command", command=[sys.executable, "-c", code, "{output}", "{text}"], params={"text": text}, **settings
    )
    done = evaluator(pair)
    assert done.metrics == {"psnr": 31.5, "loss": 0.25}
    assert done.result.metrics["loss"]["better"] == "lower"
    assert [verdict.metric for verdict in done.breached] == ["psnr"]
    assert evaluator(pair).reused


NO_METRICS = {
    "text": ('"31.5"', "metric m: found '31.5'; accepted: a finite number"),
    "boolean": ("true", "metric m: found True; accepted: a finite number"),
    "NaN": ("NaN", "metric m: found nan; accepted: a finite number"),
    "beyond floats": ("1" * 400, "metric m: found 1111"),
    "nothing": ("null", "metric m: found None; accepted: a finite number"),
    "bound": ('{"value": 1, "low": "0.5"}', "metric m: low is '0.5'; accepted: a finite number"),
    "count": ('{"value": 1, "n": true}', "metric m: n is True; accepted: a finite number"),
}


@pytest.mark.parametrize(("text", "message"), NO_METRICS.values(), ids=NO_METRICS)
def test_a_metric_of_a_program_is_a_finite_number(tmp_path, text, message):
    """Gates compare numbers: nothing else passes for one, and it is told with its name."""
    file = tmp_path / "metrics.json"
    file.write_text(f'{{"m": {text}}}')
    with pytest.raises(PairError, match=re.escape(message)):
        read_metrics(file)


EVAL_SH = r"""
IN_SUBDIR=${IN_SUBDIR:-images}
MAX_BATCH_SIZE=${MAX_BATCH_SIZE:-7}
set -e
env > "$1/env.txt"
printf '%s\n' "# state" RUNNING_CURRENT_BATCH=1 RUNNING_TOTAL_BATCHES=1 RUNNING_BATCH_COMPLETED=2 \
    RUNNING_BATCH_TOTAL=6 RUNNING_FAILED_BATCHES=0 RUNNING_RETRY_COUNT=5 RUNNING_TIMESTAMP=1 \
    MAX_BATCH_SIZE=$MAX_BATCH_SIZE TOTAL_DATA=6 > "$RUN_STATE_NAME.tmp"
mv "$RUN_STATE_NAME.tmp" "$RUN_STATE_NAME.state"
: > "$RUN_STATE_NAME.complete.state"
while ! grep -q RETRY_COUNT=5 "$MIRROR"; do :; done
cp "$MIRROR" "$OUT_SUBDIR/seen"
for i in 0 1 2 3 4 5; do echo "$i" > "$OUT_SUBDIR/s$i"; done
"""


def test_script_of_the_seed(bench, evaluator):
    """A script gets the environment that task_run.sh gave it, and the state file that it writes is mirrored."""
    script = bench.root / "eval.sh"
    script.write_text(EVAL_SH)
    mirror = evaluator.run / "state" / "letters" / "echo" / "clean.state"
    mirror.parent.mkdir(parents=True)
    mirror.write_text("")
    pair = bench.pair(
        adapter="command",
        command=["bash", str(script), "{dataset_dir}"],
        results={"files": "{id}"},
        metrics=[],
        max_batch_size=7,
        in_subdir="images",
        post_process_plugin=None,
        env={"OTHER": "a b", "MIRROR": str(mirror), "REMOTE_TASK_HOME": "/data"},
    )
    evaluator(pair)
    env = dict(line.split("=", 1) for line in (bench.root / "data" / "env.txt").read_text().splitlines() if "=" in line)
    output = evaluator.run / "outputs" / "letters" / "echo" / "clean"
    assert {name: env[name] for name in ("IN_SUBDIR", "MAX_BATCH_SIZE", "OTHER", "OUT_SUBDIR", "MODEL_DIR")} == {
        "IN_SUBDIR": "images",
        "MAX_BATCH_SIZE": "7",
        "OTHER": "a b",
        "OUT_SUBDIR": str(output),
        "MODEL_DIR": str(bench.root),
    }
    assert env["REMOTE_WORK_DIR"] == "/data/task_echo_clean"
    assert env["SHARED_MODEL_PATH"] == "/data/.model_cache/echo_model.bin"
    assert env["RUN_STATE_NAME"].startswith("/")
    assert "RUNNING_RETRY_COUNT=5" in (output / "seen").read_text()


def test_ranges_are_pending_after_ctrl_c(bench, evaluator):
    """An interrupted range is nobody's failure; nothing of the program is left, and its rows are kept."""
    code = (
        "import os, signal, sys, time\n"
        "file = open(sys.argv[1] + '/a.csv', 'w')\n"
        "file.write('id,answer\\ns0,0\\ns1,1\\ns2,')\n"
        "file.flush()\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "time.sleep(0.5)\n"  # by then it is waited for
        "os.kill(int(sys.argv[2]), signal.SIGINT)\n"
        "time.sleep(600)\n"
    )
    settings = {"results": {"csv": "a.csv", "prediction": "answer"}, "params": {"pid": os.getpid()}}
    pair = bench.pair(adapter="command", command=[sys.executable, "-c", code, "{output}", "{pid}"], **settings)
    with pytest.raises(KeyboardInterrupt):
        evaluator(pair)
    directory = evaluator.run / "shards" / "letters" / "echo" / "clean"
    (record,) = read_ranges(directory)
    assert record.status == "pending"
    assert not Path(f"/proc/{record.pid}").exists()
    with pytest.raises(KeyboardInterrupt):
        evaluator(pair)
    kept, again = read_ranges(directory)
    assert (kept.positions, kept.status, again.positions) == ((0, 2), "completed", (2, 6))


class FakeLease:
    """What a lease gives to whoever starts programs: an environment, and locks to hold."""

    def __init__(self, path):
        self.fds = (os.open(path, os.O_RDWR | os.O_CREAT),)

    def environment(self):
        return {"CUDA_VISIBLE_DEVICES": "GPU-7"}


class FakeSlots:
    """One GPU; keeps what was taken and given back."""

    def __init__(self, path):
        self.told = []
        self.lease = FakeLease(path)
        self.memory = GpuMemory()

    def take(self, need, pair, around):
        self.told.append(("taken", pair, need.gpus))
        return self

    def free(self, pids=()):
        self.told.append(("freed", len(pids) > 0))
        os.close(self.lease.fds[0])


SEES = (
    "import os,sys; open(sys.argv[1], 'w').write('id,answer\\ns0,' + os.environ['CUDA_VISIBLE_DEVICES'] + sys.argv[2])"
)


@pytest.mark.parametrize("ask", ["pair", "batch"])
def test_gpus_for_the_life_of_a_program(bench, evaluator, ask, tmp_path):
    """GPUs are leased before the program starts and given back after it has ended; it sees them and no others."""
    bench.data(count=1)
    context = evaluator.context()
    context.slots = FakeSlots(tmp_path / "lock")
    pair = bench.pair(
        adapter="command",
        command=[sys.executable, "-c", SEES, "{output}/a.csv", "{gpus}"],
        ask=ask,
        results={"csv": "a.csv", "prediction": "answer"},
        metrics=[],
        gpus=1,
    )
    evaluate(pair, context)
    assert predictions(evaluator)[0]["prediction"] == "GPU-7GPU-7"
    assert context.slots.told == [("taken", "letters/echo/clean", 1), ("freed", True)]


UNLUCKY = """
import os, sys
from pytest_evalrun.children import handle
with open("tries", "a") as file:
    file.write("x")
tries = os.stat("tries").st_size
if tries == 1:
    sys.exit(75)
if tries == 2:
    os.kill(os.getpid(), 9)
with open(sys.argv[1] + "/a.csv", "w") as file:
    print("id,answer", *(f"s{i},{i}" for i in range(6)), sep="\\n", file=file)
"""


def test_bad_luck_is_tried_again(bench, evaluator):
    """A program that was killed, or asks for another try by its exit code, gets one."""
    (bench.root / "unlucky.py").write_text(UNLUCKY)
    settings = {"results": {"csv": "a.csv", "prediction": "answer"}, "retries": 2}
    pair = program(bench, "unlucky", "{output}", **settings)
    assert evaluator(pair).metrics == {"exact_match": 1.0}
    assert [event["attempt"] for event in evaluator.events() if event["event"] == "batch_retried"] == [1, 2]


def test_a_program_that_is_gone_costs_no_predictions(bench, evaluator):
    """Before old predictions go aside for a changed command, its program must be there."""
    evaluator(batch(bench))
    changed = bench.pair(adapter="command", command="./gone {batch}", ask="batch", results={"csv": "a.csv"})
    with pytest.raises(PairError, match=r"\./gone: the program cannot be used: No such file"):
        evaluator(changed)
    assert len(predictions(evaluator)) == 6


def test_very_long_answers(bench, evaluator):
    """A cell may be longer than what the module csv allows by itself."""
    code = "import sys; open(sys.argv[1] + '/a.csv', 'w').write('id,answer\\ns0,' + 'x' * 500000 + '\\n')"
    bench.data(count=1)
    settings = {"results": {"csv": "a.csv", "prediction": "answer"}, "metrics": []}
    evaluator(bench.pair(adapter="command", command=[sys.executable, "-c", code, "{output}"], **settings))
    assert len(predictions(evaluator)[0]["prediction"]) == 500_000


def test_changes_are_told(bench, evaluator):
    """A changed script is a changed program, and another word in the command a changed command; batch size is none."""
    evaluator(batch(bench))
    assert evaluator(batch(bench, max_batch_size=3)).reused
    (bench.root / "batch.py").write_text(BATCH + "\n")
    assert evaluator(batch(bench)).reason == "re-run: program changed (batch.py)"
    assert evaluator(batch(bench, "{output}/other.jsonl")).reason == "re-run: command changed"
