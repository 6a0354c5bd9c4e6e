"""The tree layout and every layer of settings, from the files on disk to what a run did and `evalrun explain` says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

MODEL = """
import os

class Model:
    def __init__(self, path, params=None):
        self.weights = open(path).read()

    def predict(self, batch):
        return [len(sample.input.read_text()) for sample in batch]
"""
TRAP = "from pathlib import Path\nPath({trap!r}).touch()\n\ndef test_trap():\n    pass\n"
SUITE = {
    "import": "../common.yaml",
    "script": "eval.sh",
    "discover": {"model_file_ext": ".bin", "in_subdir": "inputs"},
    "metrics": ["exact_match"],
    "max_batch_size": 10,
    "overrides": [{"match": "b/*", "max_batch_size": 11, "tags": ["lower"]}],
}


class Tree:
    """``evals/tree`` with two tasks, something in every layer, a .skip, and test files among the data."""

    def __init__(self, project):
        self.project = project
        self.root = project.root / "evals" / "tree"
        self.trap = project.root / "trap"
        for dataset in ("a/own", "a/tasks", "a/held", "b/plain"):
            self.dataset(self.root / dataset)
        (self.root / "a/.run_config").write_text("# of the task\nMAX_BATCH_SIZE=5\nGREETING=hello $USER\n")
        (self.root / "a/own/.run_config").write_text("export MAX_BATCH_SIZE=6\n")
        (self.root / "a/held/.skip").write_text("labels are wrong\n")
        for name in ("test_trap.py", "conftest.py", "inputs/test_trap.py", "inputs/conftest.py"):
            (self.root / "b/plain" / name).write_text(TRAP.format(trap=str(self.trap)))
        (project.root / "pytest.ini").write_text("[pytest]\n")
        (project.root / "evals/common.yaml").write_text(
            "adapter: ./model.py:Model\nlabels: labels.csv\nretries: 1\nsuffixes: [.txt]\n"
        )
        (self.root / "model.py").write_text(MODEL)
        (self.root / "eval.sh").write_text(
            "#!/bin/bash\nset -eu\nMAX_BATCH_SIZE=${MAX_BATCH_SIZE:-12}\nRETRIES=9\nMAX_FAILED=3\n"
            f"touch {self.trap}\nFINGERPRINT=stat\n"
        )
        self.write(SUITE)

    def write(self, content):
        (self.root / "evalrun.yaml").write_text(json.dumps(content, indent=1))

    def dataset(self, path):
        (path / "inputs").mkdir(parents=True)
        for i in range(3):
            (path / f"inputs/{i}.txt").write_text("x" * i)
        (path / "labels.csv").write_text("file,label\n0,0\n1,1\n2,2\n")
        (path.parent / "model.bin").write_text(f"weights of {path.parent.name}")

    def sizes(self, *args, **env):
        """Pair → the batch size that its run had, in a run of its own."""
        ran = self.project.run("evals/tree", "--eval-run", "new", *args, **env)
        assert ran.code == 0, ran
        found = {}
        for path in sorted((self.project.latest / "state/tree").rglob("*.state")):
            if match := re.search(r"^MAX_BATCH_SIZE=(\d+)$", path.read_text(), re.MULTILINE):
                found[f"{path.parent.name}/{path.stem}"] = int(match[1])
        return found

    def explained(self, pair, **env):
        """Setting → value and layer."""
        done = subprocess.run(
            [sys.executable, "-c", "from pytest_evalrun.cli import main; main()", "explain", pair],
            cwd=self.project.root,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env,
            capture_output=True,
            text=True,
            check=True,
        )
        rows = (re.split(r" {2,}", line.rstrip()) for line in done.stdout.splitlines())
        return {row[0]: (row[1], row[2], row[3] if len(row) > 3 else "") for row in rows}


@pytest.fixture
def tree(project):
    """A suite in the tree layout with a layer in every place."""
    return Tree(project)


def test_layers_beat_each_other_in_their_order(tree):
    """Environment, command line, task, dataset, --eval-set: as the run did it, and as explain tells it."""
    env = {"EVALRUN_MAX_BATCH_SIZE": "7"}
    directories = {"a/own": 6, "a/tasks": 5}
    assert tree.sizes() == directories | {"b/plain": 11}
    assert tree.sizes(**env) == directories | {"b/plain": 7}
    assert tree.sizes("--eval-batch-size", "8", **env) == directories | {"b/plain": 8}
    everywhere = {"a/own": 9, "a/tasks": 9, "b/plain": 9}
    assert tree.sizes("--eval-batch-size", "8", "--eval-set", "max_batch_size=9", **env) == everywhere
    for pair, wanted in {
        "a/own": ("6", "dataset .run_config", "a/own/.run_config:1"),
        "a/tasks": ("5", "task .run_config", "a/.run_config:2"),
        "b/plain": ("7", "environment", "EVALRUN_MAX_BATCH_SIZE"),
    }.items():
        value, layer, source = tree.explained(pair, **env)["max_batch_size"]
        assert (value, layer) == wanted[:2]
        assert source.endswith(wanted[2])
    assert tree.explained("a/own")["env.GREETING"][0].strip('"') == "hello $USER"
    assert not tree.trap.exists()


def test_below_the_environment_are_suite_import_script_and_built_in(tree):
    """Each layer that is taken away shows the one below it."""
    found = tree.explained("b/plain", MAX_BATCH_SIZE="13")
    assert found["max_batch_size"][:2] == ("13", "environment")
    assert found["retries"][:2] == ("1", "suite")
    assert "common.yaml:3" in found["retries"][2]
    assert found["max_failed"][:2] == ("3", "script")
    assert found["fingerprint"][:2] == ("content", "built-in")
    left = dict(SUITE)
    for key, value, layer in (
        ("overrides", "11", "override"),
        ("max_batch_size", "10", "suite"),
        ("script", "12", "script"),
        (None, "32", "built-in"),
    ):
        assert tree.explained("b/plain")["max_batch_size"][:2] == (value, layer)
        left.pop(key, None)
        tree.write(left)
    assert not tree.trap.exists()


def test_the_tree_is_what_is_on_disk(tree):
    """.skip holds a dataset back, an inner suite is one of its own, and what lies in data is never run."""
    inner = tree.root / "inner"
    tree.dataset(inner / "c/deep")
    (inner / "evalrun.yaml").write_text(json.dumps(SUITE | {"import": "../../common.yaml", "overrides": []}))
    for name in ("model.py", "eval.sh"):
        (inner / name).write_text((tree.root / name).read_text())
    ran = tree.project.run("evals", "--collect-only", "-q")
    ids = [line for line in ran.output.splitlines() if "::" in line]
    assert ids == [
        *(f"evals/tree/evalrun.yaml::test_pair[{pair}]" for pair in ("a/held", "a/own", "a/tasks", "b/plain")),
        "evals/tree/inner/evalrun.yaml::test_pair[c/deep]",
    ], ran
    assert "labels are wrong" in ran
    ran = tree.project.run("evals", "-n", "2")
    assert ran.code == 0, ran
    assert "4 passed, 1 skipped" in ran
    assert "SKIPPED tree/a/held  labels are wrong" in ran, ran
    listed = (tree.project.latest / ".task_list").read_text()
    assert "held" not in listed
    assert "*inner/c||1\n-deep|2\n" in listed
    ran = tree.project.run("evals/tree", "-m", "lower")
    assert "1 passed" in ran, ran
    assert not tree.trap.exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_inputs_that_are_not_there_are_the_error_of_their_pair(tree, workers, monkeypatch):
    """A .run_config that names them wrongly hides nothing, hurts nobody else, and a wrong word in it is told.

    A secret that stands there as a word is blanked.
    """
    monkeypatch.setenv("EVALRUN_TEST_KEY", "secret_of_a_server")
    words = "MAX_BATCHSIZE=6\nIN_SUBDIR=nope\nsecret_of_a_server=1\n"
    (tree.root / "a/own/.run_config").write_text(words)
    ran = tree.project.run("evals/tree", "-n", workers, "--eval-set", "env.KEY=${EVALRUN_TEST_KEY}")
    assert ran.code == 1, ran
    assert "2 passed, 1 skipped, 1 error" in ran, ran
    told = "evals/tree/a/own/.run_config:2: IN_SUBDIR: found 'nope', which is no directory of the dataset; looked for "
    assert f"{told}{tree.root}/a/own/nope" in ran, ran
    assert "a/own/.run_config:1: MAX_BATCHSIZE: no setting; without effect" in ran, ran
    assert "did you mean MAX_BATCH_SIZE?" in ran, ran
    assert "GREETING, ***: no settings" in ran, ran
    assert "secret_of_a_server" not in str(ran), ran
    assert "-own|3\n" in (tree.project.latest / ".task_list").read_text()


@pytest.mark.parametrize("place", ["b/plain", "b/plain/inputs", "b/plain/test_trap.py", "b/plain/inputs/test_trap.py"])
def test_data_on_the_command_line_is_not_run_either(tree, place):
    """Whoever passes the path by mistake gets no test, and no code of the dataset's is executed."""
    ran = tree.project.run(f"evals/tree/{place}")
    assert ran.code == 4, ran
    assert "this is data of" in ran
    assert "evals/tree/evalrun.yaml" in ran
    assert "Traceback" not in ran, ran
    assert not tree.trap.exists()
