"""`make house` counts what it says that it counts, on a package made up for it."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tools.house import House, trace

SOURCES = {
    "__init__.py": "",
    "suite/kinds.py": """
        class Kind:
            def asked(self):
                return self.way  # not of another
    """,
    "suite/pair.py": """
        from typing import Protocol

        class Pair:
            cut = None

        class Asks(Protocol):
            def run(self, samples: Iterable[Sample]) -> None: ...
    """,
    "predicting/loop.py": """
        # A loop.
        class Pair:
            def run(self, samples: Iterable[Sample]) -> None:
                if self.pair.settings.kind.needs_board(self.pair.settings):
                    self._one(samples)

            def _one(self, samples: Iterable[Sample]) -> None:
                return None

            def read(self, samples: Iterable[Sample]) -> int:
                return len(samples)
    """,
    "programs/places.py": """
        import fcntl

        class Here:
            def run(self, argv, env):
                with FileLock("lock") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)

        class There:
            def start(self, pair):
                assert pair.cut is None or self._pair.cuts
                run_there(self.board)

        def twice():
            pass

        def _once():
            '''Its docstring is no statement.'''
            if twice():
                twice()

        def long():
            a = _once()
            return a  # noqa: RET504
    """,
}


@pytest.fixture
def house(tmp_path):
    for name, source in SOURCES.items():
        file = tmp_path / "package" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(source))
    return House(tmp_path / "package")


@pytest.mark.parametrize(
    ("what", "figure", "names"),
    [
        pytest.param("public classes of one name", "1", ["Pair: predicting.loop, suite.pair"], id="names"),
        pytest.param("calls of flock", "1", ["programs.places:7"], id="flock"),
        pytest.param("places that make a FileLock", "1", ["programs.places:6"], id="FileLock"),
        pytest.param("files that ask what kind a pair is", "1", ["predicting.loop"], id="kind"),
        pytest.param("files that ask for pair.cut or pair.cuts", "1", ["programs.places"], id="cuts"),
        pytest.param("classes that ask a model", "1", ["predicting.loop Pair"], id="asks"),
        pytest.param("classes that run a program", "2", ["programs.places Here", "programs.places There"], id="runs"),
        pytest.param("comments in 100 lines", "5.7", [], id="comments"),
        pytest.param("lines, blank ones apart", "35", [], id="lines"),
        pytest.param("length of functions, p50 and p90", "3 and 4", [], id="lengths"),
        pytest.param(
            "functions of at most 2 statements that are named once",
            "2",
            ["predicting.loop:8 _one", "programs.places:17 _once"],
            id="called once",
        ),
    ],
)
def test_sources_are_counted(house, what, figure, names):
    """Each figure counts what has the shape that its line names, and nothing that only looks like it."""
    (row,) = [row for row in house.rows() if row.what.startswith(what)]
    assert (row.figure, list(row.names)) == (figure, names)


def test_passages_are_counted(tmp_path):
    """A call from another module is a passage, through foreign code too; one within a module or an import is not."""
    root = tmp_path / "root"
    package = root / "pytest_evalrun"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "outer.py").write_text(
        "from pytest_evalrun.inner import double, own\nAT_IMPORT = double(1)\n\n"
        "def main():\n    own()\n    return list(map(double, [1, 2]))\n"
    )
    (package / "inner.py").write_text("def double(x):\n    return 2 * x\n\ndef own():\n    return double(1)\n")
    (root / "start.py").write_text("from pytest_evalrun.outer import main\nmain()\n")
    found = trace(root, root, [str(root)], "-m", "start")
    assert found["passages"] == {"outer.py -> inner.py": 3}
    assert set(found["ran"]) == {"inner.py", "outer.py"}
    assert set(found["imported"]) == {"__init__.py", "inner.py", "outer.py"}
