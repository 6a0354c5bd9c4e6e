"""What counts of a task that we start ourselves: its code, its parameters, the files that these name."""

from __future__ import annotations

import sys

import pytest

from pytest_evalrun.agents.tasks.content import content_of, source_of
from pytest_evalrun.agents.tasks.definitions import TaskDefinition
from pytest_evalrun.rundir.hashes import HashCache

FILES = {
    "world.py": "class World: ...",
    "other.py": "",
    "pack/__init__.py": "",
    "pack/sql.py": "class Sql: ...",
    "pack/helper.py": "",
    "pack/result.json": "{}",
    "pack/deep/__init__.py": "class Deep: ...",
    "data/a.json": "1",
    "data/b.json": "2",
    "data/sub/c.txt": "3",
}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "evals [1]"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def content(root, module="./world.py:World", **parameters):
    cache = HashCache(root.parent / "hashes.db", warn=pytest.fail)
    try:
        return content_of(TaskDefinition("t", {"module": module, "parameters": parameters}, "tasks"), str(root), cache)
    finally:
        cache.close()


CODE = {
    "a file is that file": ("./world.py:World", {"world.py"}),
    "a module alone is its file": ("world.World", {"world.py"}),
    "a module of a package is all of that": (
        "pack.sql.Sql",
        {"pack/__init__.py", "pack/sql.py", "pack/helper.py", "pack/deep/__init__.py"},
    ),
    "with a colon": (
        "pack.sql:Sql",
        {"pack/__init__.py", "pack/sql.py", "pack/helper.py", "pack/deep/__init__.py"},
    ),
    "a package is itself": ("pack.deep.Deep", {"pack/deep/__init__.py"}),
}


@pytest.mark.parametrize(("module", "counting"), CODE.values(), ids=CODE)
def test_code_counts(root, module, counting):
    """Each file that belongs to the code of a task changes what it is, and no other."""
    before = content(root, module)
    assert before["code"] is not None
    changing = set()
    for name in FILES:
        (root / name).write_text("# changed")
        changing |= {name} if content(root, module) != before else set()
        (root / name).write_text(FILES[name])
    assert changing == counting


DATA = {
    "a file": ({"path": "data/a.json"}, {"data/a.json"}),
    "a directory": ({"nested": [{"directory": "data"}]}, {"data/a.json", "data/b.json", "data/sub/c.txt"}),
    "a pattern": ({"files": ["data/*.json"]}, {"data/a.json", "data/b.json"}),
    "a text that is no file": ({"nul": "Use\0 the", "long": "x" * 5000, "name": "data-1"}, set()),
    "where the task writes": ({"cache_path": "data", "saveDir": "data", "log": "data/a.json"}, set()),
    "the suite itself": ({"directory": "."}, set()),
    "what lies outside": ({"directory": "../", "file": "/etc/hostname"}, set()),
}


@pytest.mark.parametrize(("parameters", "counting"), DATA.values(), ids=DATA)
def test_files_that_parameters_name_count(root, parameters, counting):
    """Content of what a text in the parameters names below the suite is content of the task."""
    before = content(root, "other.Other", **parameters)
    changing = set()
    for name in FILES.keys() - {"other.py"}:
        (root / name).write_text("changed")
        changing |= {name} if content(root, "other.Other", **parameters) != before else set()
        (root / name).write_text(FILES[name])
    assert changing == counting


def test_how_much_at_once_does_not_count(root):
    """More samples at once are the same samples."""
    assert content(root, concurrency=1) == content(root, concurrency=24)
    assert content(root, rounds=1) != content(root, rounds=24)


def test_caches_of_python_do_not_count(root):
    """What Python leaves beside a module is no code."""
    before = content(root, "pack.sql.Sql")
    (root / "pack" / "__pycache__").mkdir()
    (root / "pack" / "__pycache__" / "sql.cpython-311.pyc").write_bytes(b"x")
    assert content(root, "pack.sql.Sql") == before


def test_a_clone_is_the_same(root, tmp_path):
    """Where the suite lies does not count, in paths that lead to it neither."""
    clone = tmp_path / "other" / "place"
    clone.parent.mkdir()
    here = content(root, "pack.sql.Sql", path=f"{root}/data/a.json")
    root.rename(clone)
    assert content(clone, "pack.sql.Sql", path=f"{clone}/data/a.json") == here


def test_installed_modules_are_found(root):
    """A task may be a module that is installed; the suite's own come first, and nothing is imported."""
    assert source_of("http.server.Task", str(root)).name == "server.py"
    (root / "http").mkdir()
    (root / "http" / "server.py").write_text("")
    assert source_of("http.server.Task", str(root)) == root / "http" / "server.py"
    assert source_of("no_such_module.Task", str(root)) is None
    assert "pack.sql" not in sys.modules
