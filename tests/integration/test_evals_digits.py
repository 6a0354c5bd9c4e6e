"""The baseline of evals/digits that is committed, and the gate that uses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

EVALS = Path(__file__).parents[2] / "evals"
PAIRS = ("clean", "noisy", "rotated")


@pytest.fixture
def digits(project):
    """The suite with its baseline, alone in a project."""
    shutil.copytree(EVALS / "digits", project.root / "evals" / "digits")
    (project.root / "pytest.ini").write_text("[pytest]\n")
    return project


def drop(project, dataset):
    result = json.loads((project.latest / "results" / "digits" / "mlp_int8" / f"{dataset}.json").read_text())
    (gate,) = [gate for gate in result["gates"] if gate["kind"] == "max_drop" and gate["metric"] == "top1"]
    return gate


def test_the_model_keeps_what_was_saved_of_it(digits):
    """300 images on which nothing flips prove a margin of 2 points, and not more than they prove."""
    ran = digits.run("evals/digits", "-k", "mlp_int8")
    assert ran.code == 0, ran
    for dataset in PAIRS:
        gate = drop(digits, dataset)
        assert (gate["verdict"], gate["lost"], gate["won"], gate["n"]) == ("PASS", 0, 0, 300), ran
        low, high = gate["interval"]
        assert -0.02 < low < 0 < high


def test_another_model_in_its_place_is_seen(digits):
    """The linear one loses on images that the network got right; where that is not sure, it is said."""
    models = digits.root / "evals" / "digits" / "models"
    shutil.copy(models / "logreg.onnx", models / "mlp_int8.onnx")
    ran = digits.run("evals/digits", "-k", "mlp_int8", COLUMNS="200")
    assert ran.code == 1, ran
    for dataset in PAIRS:
        gate = drop(digits, dataset)
        assert gate["lost"] > gate["won"], gate
        assert gate["verdict"] in ("FAIL", "INCONCLUSIVE"), gate
    assert "top1 0.956667 < 0.96? (" in ran
    assert "top1 max_drop 0.02 against main (0.98): INCONCLUSIVE: n=300, discordance " in ran
