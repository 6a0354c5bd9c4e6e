"""Which files of a suite travel to a board, and under which names."""

from __future__ import annotations

import shlex

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.command_template import here, placeholders, portable_command, sent_files, there
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task


@pytest.fixture
def suite(tmp_path):
    """The pair of a suite with some files, for a command and patterns."""
    root = tmp_path / "suite 'x'"
    for name in ("ask.sh", "lib/a.py", "lib/deep/b.py", "lib/note.txt", "weights.bin"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (tmp_path / "secret").write_text("x")

    def pair(command="sh ask.sh {model}", upload=(), **more):
        values = {"adapter": "ssh", "command": command, "upload": list(upload)} | more
        layer = Layer("suite", str(root / "evalrun.yaml"), values)
        task = Task("t", str(root / "weights.bin"), str(root))
        return Pair("s", str(root), task, Dataset("d", str(root / "lib")), (layer,))

    return pair


def names(pair):
    return [name for _, name in sent_files(pair.settings, pair.root)]


def test_what_the_command_names_is_sent(suite):
    """By relative or absolute path, with a shell too; placeholders and programs of the board are none."""
    assert names(suite()) == ["ask.sh"]
    assert names(suite(f"python3 {shlex.quote(suite().root)}/lib/a.py")) == ["lib/a.py"]
    assert names(suite("sh ask.sh | python3 lib/a.py {model}", shell=True)) == ["ask.sh", "lib/a.py"]
    assert names(suite("cat {model}")) == []


def test_upload_takes_files_directories_and_globs(suite):
    """Each once, under its name in the suite, sorted."""
    assert names(suite(upload=["lib"])) == ["ask.sh", "lib/a.py", "lib/deep/b.py", "lib/note.txt"]
    assert names(suite("true", upload=["lib/*.py", "lib/a.py"])) == ["lib/a.py"]
    assert names(suite("true", upload=["**/*.py"])) == ["lib/a.py", "lib/deep/b.py"]


def test_upload_of_nothing_is_an_error(suite):
    """A pattern that has no match is a slip, and is named."""
    with pytest.raises(PairError, match=r"upload: found 'libs', which matches no file below "):
        names(suite(upload=["libs"]))


@pytest.mark.parametrize("pattern", ["../secret", "lib/../../secret"])
def test_nothing_outside_the_suite_is_sent(suite, pattern):
    """Neither by ``upload`` nor by a command that names it."""
    assert names(suite("true", upload=[pattern])) == []
    assert names(suite(f"cat {pattern}")) == []


def test_a_command_names_files_of_the_suite_as_the_board_knows_them(suite, tmp_path):
    """By their relative names; words that are no files of the suite stay as they are."""
    root = suite().root
    pair = suite(["sh", f"{root}/ask.sh", "/bin/true", "{model}", f"{root}/lib/a.py"])
    assert portable_command(pair).own.command == ("sh", "ask.sh", "/bin/true", "{model}", "lib/a.py")


def test_places_there_are_the_boards_own(suite):
    """Nothing that a program on a board is told is a path of this machine, but for the parameters of the user."""
    pair = suite(params={"k": "v"})
    where = there("/h/.model_cache/t.bin", "/h/task_t_d", "/h/task_t_d/data", "/h/task_t_d/data/x.csv", "/h/out")
    values = placeholders(pair, where, "")
    assert values == {
        "k": "v",
        "model": "/h/.model_cache/t.bin",
        "model_dir": "/h/.model_cache",
        "dataset": "/h/task_t_d/data/x.csv",
        "dataset_dir": "/h/task_t_d/data",
        "gpus": "",
        "batch_size": values["batch_size"],
        "output": "/h/out",
    }
    assert there("", "/h/w", "/h/w/data", "/h/w/data", None).model_dir == "/h/w"
    assert here(pair).work == "task_t_d"
