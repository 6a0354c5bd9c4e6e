"""What others take for the same requests: Inspect AI and lm-eval, in environments of their own, on the same server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Figure, Spent, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUESTS = 2_000
AT_ONCE = 64

INSPECT = """
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset, FieldSpec
from inspect_ai.scorer import exact
from inspect_ai.solver import generate

@task
def colours():
    return Task(json_dataset("d.jsonl", FieldSpec(input="x", target="y")), solver=generate(), scorer=exact())
"""
LM_EVAL = """
task: colours
dataset_path: json
dataset_kwargs: {data_files: {test: d.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{x}}"
doc_to_target: "{{y}}"
generation_kwargs: {until: []}
metric_list: [{metric: exact_match}]
"""


@dataclass(frozen=True)
class Peer:
    """A program that asks: what is installed for it, the files that it needs, and its command."""

    name: str
    packages: tuple[str, ...]
    files: dict[str, str]
    program: str
    arguments: tuple[str, ...]


def peers(url: str) -> list[Peer]:
    """All ask without a key worth one, 64 at once, and score by equality."""
    model = f"model=m,base_url={url}/v1/chat/completions,num_concurrent={AT_ONCE},tokenized_requests=False"
    inspect = (
        "eval",
        "colours.py",
        "--model",
        "openai-api/local/m",
        "--model-base-url",
        f"{url}/v1",
        "--display",
        "none",
    )
    lm_eval = ("--model", "local-chat-completions", "--model_args", model, "--tasks", "colours", "--include_path", ".")
    return [
        Peer(
            "Inspect AI",
            ("inspect-ai", "openai"),
            {"colours.py": INSPECT},
            "inspect",
            (*inspect, "--max-connections", str(AT_ONCE)),
        ),
        Peer("lm-eval", ("lm-eval[api]",), {"colours.yaml": LM_EVAL}, "lm_eval", (*lm_eval, "--apply_chat_template")),
    ]


def measure(place: Path, url: str, ours: Callable[[], Spent], stats: Callable[[], dict[str, Any]]) -> list[Figure]:
    """Each peer once, after ours: the seconds from the first request to the last answer, and the whole command."""
    whole = ours()
    asked = _seconds("ours", stats())
    figures = []
    for peer in peers(url):
        directory = place / peer.program
        spent = _run(peer, directory)
        what = f"{REQUESTS:,} requests, {AT_ONCE} at once, {peer.name} against ours"
        figures.append(_figure(f"{what}: first to last", asked, _seconds(peer.name, stats())))
        figures.append(_figure(f"{what}: whole command", whole.seconds, spent))
    return figures


def _seconds(name: str, told: dict[str, Any]) -> float:
    """Who ends well and has asked nothing was not measured."""
    if told["answered"] != REQUESTS:
        raise SystemExit(f"{name}: {told['answered']} answers in place of {REQUESTS}")
    return float(told["seconds"])


def _figure(what: str, ours: float, theirs: float) -> Figure:
    return Figure(what, ours, theirs, f"{theirs / ours:.1f} x", "", "-", True)


def _run(peer: Peer, directory: Path) -> float:
    """Install it, have it show its help so that its files are in the caches, and run it."""
    directory.mkdir(parents=True)
    for name, text in peer.files.items():
        (directory / name).write_text(text)
    with (directory / "d.jsonl").open("w") as file:
        for number in range(REQUESTS):
            file.write(json.dumps({"x": f"What is the colour of sky {number}?", "y": "blue"}) + "\n")
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=directory, check=True)
    subprocess.run(["venv/bin/pip", "install", "-q", *peer.packages], cwd=directory, check=True)
    subprocess.run([f"venv/bin/{peer.program}", "--help"], cwd=directory, check=True, capture_output=True)
    env = environment() | {"OPENAI_API_KEY": "any", "LOCAL_API_KEY": "any", "HF_HOME": str(directory / "hf")}
    start = time.perf_counter()
    command = [f"venv/bin/{peer.program}", *peer.arguments]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return time.perf_counter() - start
