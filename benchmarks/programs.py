"""What it costs to have programs as models: 200 that do nothing, a server that answers at once, 1 GB of output."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.harness import MODELS, Figure, Scale, Spent, Timed, median_seconds, write_suite

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = 200
MOST = 1.5
SAMPLES = 200_000
BATCH = 256
LEAST = 20_000
OUTPUT = 1 << 30
MOST_MEMORY = 50  # MB

ONE_LINE = 'true; printf "id,answer\\n0,7\\n" > "$0/a.csv"'
SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "load":
        print('{"type":"ready"}', flush=True)
    elif message["type"] == "predict":
        print(json.dumps({"type": "predictions", "predictions": [0] * len(message["batch"])}), flush=True)
    else:
        break
"""
# In a process of its own, whose peak is that of nothing else.
STREAM = """
import os, resource, sys
from pytest_evalrun.programs.running import ProgramIO, run
from pytest_evalrun.programs.sink import OutputSink
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
terminal = os.open(os.devnull, os.O_WRONLY)
shown = lambda text: os.write(terminal, text.encode())
def stream(size):
    told = OutputSink(lambda data: os.write(log, data), shown, "digits/mlp/clean 0-250")
    ending = run(["sh", "-c", f"yes {'a line of output ' * 6} | head -c {size}"], dict(os.environ), ".",
                 ProgramIO(told, lambda pid: None), lambda: None)
    assert ending.returncode == 0, ending
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = stream(1 << 20)
print((stream(int(sys.argv[2])) - before) // (1 if sys.platform == "linux" else 1024))
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Each against what nobody can avoid: starting the program, and keeping a pair."""
    return [_starts(scale, place), _server(place), _output(place)]


def _starts(scale: Scale, place: Path) -> Figure:
    suite = Timed(_programs(place / "programs"), ("-n", "2"))
    pairs = Timed(write_suite(place / "noop", MODELS, PROGRAMS // MODELS), ("-n", "2"), pairs=PROGRAMS)
    ours, theirs = [], []
    for _ in range(scale.rounds):
        ours.append(suite.run())
        bare, noop = _xargs(place), pairs.run()
        theirs.append(Spent(bare + noop.seconds, noop.processor))
        _check(suite.directory)
    found = statistics.median(left.seconds / right.seconds for left, right in zip(ours, theirs, strict=True))
    what = f"{PROGRAMS} programs that do nothing, -n 2, against xargs -P 2 and as many no-op pairs"
    shown = (f"{found:.2f} x", "", f"<= {MOST:g} x")
    return Figure(what, median_seconds(ours), median_seconds(theirs), *shown, found <= MOST)


def _programs(directory: Path) -> Path:
    (directory / "data").mkdir(parents=True)
    for number in range(PROGRAMS // MODELS):
        (directory / "data" / f"d{number}.jsonl").write_text('{"x": 7, "y": 7}\n')
    return _write(
        directory,
        command=["sh", "-c", ONE_LINE, "{output}"],
        results={"csv": "a.csv", "prediction": "answer"},
        models=[{"name": f"m{number}"} for number in range(MODELS)],
        datasets=[{"path": "data/*.jsonl"}],
    )


def _write(directory: Path, **values: object) -> Path:
    (directory / "pytest.ini").write_text("[pytest]\n")
    common = {"adapter": "command", "format": "jsonl", "inputs": ["x"], "reference": "y", "metrics": ["exact_match"]}
    (directory / "evalrun.yaml").write_text(json.dumps({"name": "programs", **common, **values}))
    return directory


def _xargs(place: Path) -> float:
    directories = [place / "bare" / str(number) for number in range(PROGRAMS)]
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    subprocess.run(
        ["xargs", "-P", "2", "-n", "1", "sh", "-c", ONE_LINE],
        input="\n".join(map(str, directories)),
        text=True,
        check=True,
    )
    return time.perf_counter() - start


def _check(directory: Path) -> None:
    results = [json.loads(path.read_text()) for path in (directory / "outputs/default/latest/results").glob("*/*/*")]
    if len(results) != PROGRAMS or any(result["metrics"]["exact_match"]["value"] != 1 for result in results):
        raise SystemExit(f"{directory}: {len(results)} results of {PROGRAMS}, or wrong ones")


def _server(place: Path) -> Figure:
    directory = place / "server"
    directory.mkdir()
    (directory / "server.py").write_text(SERVER)
    (directory / "data.jsonl").write_text('{"x": 7, "y": 0}\n' * SAMPLES)
    _write(
        directory,
        command=[sys.executable, "server.py"],
        ask="server",
        max_batch_size=BATCH,
        models=[{"name": "server"}],
        datasets=[{"name": "many", "path": "data.jsonl"}],
    )
    Timed(directory, ()).run()
    (path,) = (directory / "outputs/default/latest/results").glob("*/*/*")
    seconds = json.loads(path.read_text())["seconds"]["predict"]
    rate = SAMPLES / seconds
    what = f"{SAMPLES:,} no-op samples through a server, batches of {BATCH}, one worker"
    return Figure(what, seconds, SAMPLES / LEAST, f"{rate:,.0f}/s", "", f">= {LEAST:,}/s", rate >= LEAST)


def _output(place: Path) -> Figure:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(place / "log"), str(OUTPUT)], check=True, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    grown = int(done.stdout) / 1024
    size = (place / "log").stat().st_size
    if size < OUTPUT:
        raise SystemExit(f"{size} bytes of {OUTPUT} reached the log")
    (place / "log").unlink()
    what = "1 GB of output to a log and, with prefixes, to a terminal: memory"
    return Figure(what, seconds, 0.0, f"{grown:.0f} MB", "", f"< {MOST_MEMORY} MB", grown < MOST_MEMORY)
