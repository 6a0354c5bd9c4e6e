"""The user's own code by path and by dotted name."""

from __future__ import annotations

import os
import sys

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.objects import is_path_ref, load_object, source_file


@pytest.fixture
def root(tmp_path):
    return tmp_path


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


REFS = {
    "./a.py:A": True,
    "../x/a b.py:A": True,
    "a.py:A": True,
    "pkg.mod:A": False,
    "pkg.mod.A": False,
    "top1": False,
    "./a.txt:A": False,
}


@pytest.mark.parametrize(("ref", "expected"), REFS.items(), ids=REFS.keys())
def test_path_refs_name_a_python_file(ref, expected):
    """What has .py before the colon is a file."""
    assert is_path_ref(ref) is expected


def test_object_by_path_is_loaded_once(root):
    """A module is executed once per process, and its parts are those of one module."""
    write(
        root, "my models.py", "COUNT = []\nclass A:\n    class B: ...\n    def f(self): return COUNT\nCOUNT.append(1)\n"
    )
    first = load_object("./my models.py:A", str(root))
    assert load_object("./my models.py:A", str(root)) is first
    assert load_object("./my models.py:A.B", str(root)) is first.B
    assert first().f() == [1]
    assert sys.modules[first.__module__].A is first


def test_changed_file_is_loaded_again(root):
    """Content counts, not time: an edit of equal size within the clock's tick is seen."""
    path = write(root, "a.py", "def f(): return 1\n")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    assert load_object("./a.py:f", str(root))() == 1
    path.write_text("def f(): return 2\n")
    os.utime(path, ns=times)
    assert load_object("./a.py:f", str(root))() == 2
    assert not (root / "__pycache__").exists()


def test_neighbours_can_be_imported_and_are_not_mixed_up(root):
    """Two suites may both have a helpers.py; within one directory it is one module."""
    for name in ("one", "two"):
        write(root, f"{name}/helpers.py", f"WHO = {name!r}\nclass H: ...\n")
        write(root, f"{name}/a.py", "import helpers\ndef who(): return helpers.WHO\nH = helpers.H\n")
        write(root, f"{name}/b.py", "from helpers import H\n")
    before = list(sys.path)
    assert load_object("./a.py:who", str(root / "one"))() == "one"
    assert load_object("./a.py:who", str(root / "two"))() == "two"
    assert load_object("./b.py:H", str(root / "one")) is load_object("./a.py:H", str(root / "one"))
    assert sys.path == before
    assert "helpers" not in sys.modules


def test_object_by_dotted_name():
    """With a colon or without."""
    from fractions import Fraction

    assert load_object("fractions:Fraction", "/") is Fraction
    assert load_object("fractions.Fraction", "/") is Fraction


def test_source_is_found_without_running_it(root):
    """Fingerprints need the file, not the module."""
    path = write(root, "a.py", "raise SystemExit\n")
    assert source_file("./a.py:A", str(root)) == path.resolve()
    assert source_file("fractions:Fraction", "/").name == "fractions.py"
    assert source_file("math:sqrt", "/") is None


WRONG = {
    "no file": ("./no.py:A", "'./no.py:A': there is no file "),
    "no attribute": ("./a.py:B", "'./a.py:B': ./a.py has no 'B'; it defines: A, f"),
    "nothing defined": ("./empty.py:B", "it defines: nothing"),
    "syntax": ("./syntax.py:A", "syntax.py: cannot be imported: SyntaxError: "),
    "raises": ("./raises.py:A", "raises.py: cannot be imported: ZeroDivisionError: division by zero (line 2)"),
    "no module": ("no_such_module.x:A", "'no_such_module.x:A': no_such_module.x cannot be imported: ModuleNotFound"),
    "no dotted attribute": ("fractions:Fracture", "fractions has no 'Fracture'; it defines: Fraction"),
    "no reference": ("a b:c", "found 'a b:c'; accepted: ./file.py:Name, package.module:Name"),
}


@pytest.mark.parametrize(("ref", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_loaded_says_why(root, ref, told):
    """The message names the reference and, where there is a file, what it does define."""
    write(root, "a.py", "import os\nfrom fractions import Fraction\nclass A: ...\ndef f(): ...\ndef _g(): ...\n")
    write(root, "empty.py", "")
    write(root, "syntax.py", "class A\n")
    write(root, "raises.py", "x = 1\nx / 0\n")
    with pytest.raises(ConfigError) as caught:
        load_object(ref, str(root))
    assert told in str(caught.value)
    assert not [name for name in sys.modules if name.startswith(("evalrun_raises", "evalrun_syntax"))]


@pytest.mark.parametrize("ref", ["no_such_module:A", "no_such.module:A"])
def test_source_of_no_module_says_so(ref):
    """A dotted name that leads nowhere is the user's to fix."""
    with pytest.raises(ConfigError, match="no_such"):
        source_file(ref, "/")


def test_dotted_names_are_found_in_the_suite_last(root, monkeypatch):
    """What is installed comes first; what is not may be a package of the suite's own directory."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(root, "ownpack/__init__.py", "")
    write(root, "ownpack/base.py", "class Base: ...\n")
    path = write(root, "ownpack/deep.py", "from ownpack.base import Base\nclass Deep(Base): ...\n")
    write(root, "json/__init__.py", "")
    assert source_file("ownpack.deep.Deep", str(root)) == path
    assert load_object("ownpack.deep:Deep", str(root)).__name__ == "Deep"
    assert str(root) not in str(source_file("json.JSONDecoder", str(root)))
    with pytest.raises(ConfigError, match="there is no module ownpack"):
        source_file("ownpack.none:X", str(root))
