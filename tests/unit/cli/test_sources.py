"""What exports ask of a suite as it is today: inputs, pictures, prompts; of one that is gone or wrong nothing."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_evalrun.cli.sources import MOST_BYTES, picture, sources_in
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.suite.pairs import PairKey

EVALS = Path(__file__).parents[3] / "evals"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def sources(tmp_path):
    """``sources(file, task, dataset, …)``: those of a pair of a suite of that file."""

    def made(file, task, dataset, **options):
        paths = RunPaths(tmp_path / "run")
        paths.root.mkdir(exist_ok=True)
        suites = {"s": os.path.relpath(file, paths.root)}
        paths.run_json.write_text(json.dumps({"format": 1, "suites": suites}))
        known = SimpleNamespace(suite="s", task=task, dataset=dataset, key=PairKey("s", task, dataset))
        return sources_in(paths, **options)(known)

    return made


def test_pictures_are_shown_where_they_are_wanted(sources):
    """Otherwise they are named."""
    digits = EVALS / "digits" / "evalrun.yaml"
    assert sources(digits, "mlp", "clean").sent is None
    (first,) = islice(sources(digits, "mlp", "clean", images=True).sent(), 1)
    (message,) = first.content
    name, shown = message["content"]
    assert name["text"].endswith(f"clean/{first.id}")
    assert shown["image_url"]["url"].startswith("data:image/png;base64,")


def test_prompts_of_an_endpoint(sources):
    """Messages with their examples, and the digest that a line of predictions would have."""
    llm = EVALS / "llm" / "evalrun.yaml"
    (first,) = islice(sources(llm, "ngram@fewshot", "facts").sent(), 1)
    assert [message["role"] for message in first.content] == ["user", "assistant"] * 3 + ["user"]
    assert len(first.digest(0)) == 64
    assert first.digest(0) != first.digest(1), "another generation has another seed"


@pytest.mark.parametrize(
    "text", [None, "models: [", "adapter: ./gone.py:x\nmodels: 3\n"], ids=["gone", "torn", "wrong"]
)
def test_a_suite_that_knows_nothing(sources, tmp_path, text):
    """Answers are exported without it."""
    file = tmp_path / "evalrun.yaml"
    if text is not None:
        file.write_text(text)
    found = sources(file, "m", "d")
    assert (found.sent, found.inputs.samples) == (None, None)
    assert found.problem == "no suite has this pair today"


def test_what_is_no_picture_stays_a_name(tmp_path):
    """Text, what is too large, what is not there, and what is no file."""
    files = {"a.png": PNG, "b.png": b"no picture", "c.png": PNG + bytes(MOST_BYTES)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "d.png").mkdir()
    found = {name: picture(tmp_path / name) is not None for name in [*files, "d.png", "e.png"]}
    assert found == {"a.png": True, "b.png": False, "c.png": False, "d.png": False, "e.png": False}


def test_a_pipe_holds_nobody_up(tmp_path):
    """A picture is a file."""
    os.mkfifo(tmp_path / "p.png")
    assert picture(tmp_path / "p.png") is None
