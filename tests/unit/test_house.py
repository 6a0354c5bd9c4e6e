"""The rules of the house, as CONTRIBUTING.md states them: who may import whom, how long, and what never."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_evalrun

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUSE = Path(pytest_evalrun.__file__).parent
NAME = "pytest_evalrun"
LONGEST = 400
LONGEST_FUNCTION = 45

UPPER = frozenset({"plugin", "cli"})
PYTEST = frozenset({"pytest", "_pytest", "xdist", "pluggy"})
# What pytest, xdist and execnet keep to themselves is touched here alone, each touch with the reason for it.
TOUCHES = {
    "_pytest": frozenset({"plugin.internals", "cli.internals"}),
    "xdist": frozenset({"plugin.xdist.internals"}),
    "execnet": frozenset({"plugin.xdist.internals"}),
}
INTERNALS = frozenset().union(*TOUCHES.values())
# Private by their names only.
PUBLIC = frozenset({"os._exit"})
REACHING = frozenset({"getattr", "setattr", "hasattr", "delattr"})
DATA = frozenset(
    {"suite", "errors", "registry", "datasets.protocol", "datasets.arrays", "datasets.images", "datasets.values"}
)

# What a room of the lower floor may import besides itself: rooms, or modules of rooms.
MAY_IMPORT = {
    "": frozenset({"notebook"}),
    "errors": frozenset[str](),
    "serving": frozenset({"errors"}),
    "registry": frozenset({"errors"}),
    "suite": frozenset({"errors", "registry"}),
    "adapters": DATA,
    "datasets": DATA,
    "metrics": DATA | {"stats"},
    "stats": frozenset[str](),
    "comparison": frozenset({"stats", "rundir", "suite", "metrics", "errors"}),
    "rundir": frozenset({"suite", "errors"}),
    "slots": frozenset({"suite", "rundir.locks", "errors"}),
    "planning": frozenset({"slots", "rundir", "suite", "errors"}),
    "programs": DATA | {"children", "rundir", "adapters", "remote", "errors"},
    "children": DATA | {"adapters", "rundir"},
    "remote": frozenset({"suite", "rundir", "children", "slots", "errors"}),
    "engines": frozenset({"planning", "rundir", "suite", "registry", "errors"}),
    "monitor": frozenset({"planning", "rundir", "report", "serving", "suite", "errors"}),
    "control": frozenset({"rundir", "report", "suite", "remote", "slots", "engines", "errors"}),
    "report": frozenset({"comparison", "stats", "rundir", "suite", "metrics", "datasets", "errors"}),
    "notify": frozenset({"report", "rundir", "suite", "errors"}),
    "notebook": frozenset({"report", "rundir", "suite", "errors"}),
    "llm": DATA | {"children", "slots", "rundir", "adapters", "datasets"},
    "agents": DATA | {"llm", "children", "rundir", "adapters", "datasets", "serving"},
    "predicting": frozenset(
        {"llm", "agents", "rundir", "suite", "adapters", "datasets", "slots", "children", "programs", "remote"}
        | {"errors"}
    ),
    "evaluation": frozenset(
        {"rundir", "suite", "metrics", "adapters", "datasets", "slots", "children", "programs", "planning", "errors"}
        | {"remote", "predicting", "llm", "agents", "comparison", "stats"}
    ),
}
UNSAFE_MODULES = frozenset({"pickle", "cloudpickle", "dill", "marshal", "shelve"})
UNSAFE_CALLS = frozenset({"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"})
# Whose own JSON may be damaged, and what others wrote may be anything: on the lower floor one module reads it.
READS_JSON = "suite.jsontext"
JSON_CALLS = frozenset({"json.loads", "json.load", "loads", "orjson.loads"})
# Of CSV a cell may be longer than the module csv allows by itself, and its limit is one for the whole process.
READS_CSV = "suite.csvtext"
# Every lock must close in forked children, so one module takes them all.
LOCKS = "rundir.locks"
LOCK_MODULES = frozenset({"fcntl", "filelock", "portalocker"})
UNSAFE_ARGUMENTS = frozenset({"shell", "allow_pickle"})


def problems(house: Path) -> list[str]:
    """Every breach of the rules below a package directory, as ``module:line: what``."""
    files = sorted(house.rglob("*.py"))
    found = [f"{file.relative_to(house)}:{what}" for file in files for what in breaches(house, file)]
    found += [f"{', '.join(sorted(circle))}: import each other in a circle" for circle in circles(house)]
    return found + [f"{', '.join(modules)}: two classes are called {name}" for name, modules in doubles(house)]


def doubles(house: Path) -> list[tuple[str, list[str]]]:
    """Public classes that two modules or more have at their top, with those: one word is for one thing."""
    homes: dict[str, list[str]] = {}
    for file in sorted(house.rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module_name(house, file))
    return [(name, modules) for name, modules in sorted(homes.items()) if len(modules) > 1]


def circles(house: Path) -> list[frozenset[str]]:
    """Modules of which each reaches every other by imports, wherever these stand; greatest sets, in no order."""
    graph = imports(house)
    far = {module: reach(module, graph) for module in graph}
    found = {frozenset(other for other in far[module] if module in far[other]) for module in graph}
    return [circle for circle in found if len(circle) > 1]


def reach(module: str, graph: dict[str, set[str]]) -> set[str]:
    """Whatever is imported from here, and from there on; the module itself where that leads back."""
    far: set[str] = set()
    ahead = set(graph[module])
    while ahead:
        far |= ahead
        ahead = {name for step in ahead for name in graph[step]} - far
    return far


def imports(house: Path) -> dict[str, set[str]]:
    """Of each module which others of the house it imports: of ``from a import b`` the module ``a.b``, or else ``a``."""
    files = {module_name(house, file): file for file in house.rglob("*.py")}

    def at(target: str) -> str | None:
        first, _, name = target.partition(".")
        parent = name.rpartition(".")[0]
        return None if first != NAME else name if name in files else parent if parent in files else None

    graph = {}
    for module, file in files.items():
        package = file.name == "__init__.py"
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        targets = {at(target) for node in nodes for target in imported(node, module, package=package)}
        graph[module] = {target for target in targets if target is not None and target != module}
    return graph


def breaches(house: Path, file: Path) -> Iterator[str]:
    module = module_name(house, file)
    text = file.read_text(encoding="utf-8")
    if (length := text.count("\n")) > LONGEST:
        yield f"{length}: longer than {LONGEST} lines"
    for node in ast.walk(ast.parse(text, filename=str(file))):
        yield from unsafe(node)
        if isinstance(node, ast.Call) and called(node) in JSON_CALLS and reads_json_itself(module):
            yield f"{node.lineno}: {called(node)} is called in {READS_JSON} alone: parse_json"
        if isinstance(node, ast.Call) and called(node) == "csv.reader" and module != READS_CSV:
            yield f"{node.lineno}: csv.reader is called in {READS_CSV} alone: CsvRows"
        yield from too_long(node)
        if module.partition(".")[0] in UPPER and module not in INTERNALS and (name := private(node)):
            yield f"{node.lineno}: {name} is private to somebody else: {' or '.join(sorted(INTERNALS))}"
        for target in imported(node, module, package=file.name == "__init__.py"):
            if reason := forbidden(module, target):
                yield f"{node.lineno}: {reason}"


def module_name(house: Path, file: Path) -> str:
    """``suite.names`` for ``suite/names.py``; the package itself is the empty name."""
    parts = file.relative_to(house).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST, module: str, *, package: bool) -> list[str]:
    """The absolute names that a statement imports, wherever it stands: functions and TYPE_CHECKING count too."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = absolute(node, module, package=package)
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and called(node) in {"importlib.import_module", "import_module", "__import__"}:
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def absolute(node: ast.ImportFrom, module: str, *, package: bool) -> str:
    if not node.level:
        return node.module or ""
    here = [NAME, *filter(None, module.split("."))]
    up = node.level - 1 if package else node.level
    return ".".join([*here[: len(here) - up], *filter(None, [node.module])])


def forbidden(module: str, target: str) -> str | None:
    """Why a module may not import a name, or None where it may."""
    first, _, rest = target.partition(".")
    if first in UNSAFE_MODULES:
        return f"{first} is never used: it runs what it reads"
    if first in LOCK_MODULES and module != LOCKS:
        return f"{first} is used in {LOCKS} alone: FileLock"
    room = module.partition(".")[0]
    if room in UPPER:
        homes = TOUCHES.get(first, frozenset({module}))
        return None if module in homes else f"{first} is imported in {' and '.join(sorted(homes))} alone"
    if room not in MAY_IMPORT:
        return f"{room} is no room of the house: give it its line in MAY_IMPORT and in CONTRIBUTING.md"
    if first in PYTEST:
        return f"the lower floor never imports {first}"
    if first != NAME or may_import(room, rest):
        return None
    return f"{room or NAME} may not import {rest or NAME}"


def may_import(room: str, name: str) -> bool:
    allowed = MAY_IMPORT[room] | ({room} if room else set())
    return any(name == word or name.startswith(f"{word}.") for word in allowed)


def reads_json_itself(module: str) -> bool:
    return module != READS_JSON and module.partition(".")[0] not in UPPER


def unsafe(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    if (name := called(node)) in UNSAFE_CALLS:
        yield f"{node.lineno}: {name} is never called"
    for keyword in node.keywords:
        if keyword.arg in UNSAFE_ARGUMENTS and not (
            isinstance(keyword.value, ast.Constant) and not keyword.value.value
        ):
            yield f"{node.lineno}: {keyword.arg}= is never given"


def private(node: ast.AST) -> str | None:
    """The name with an underscore that is asked of something else than ``self`` or ``cls``, or overridden in pytest."""
    if isinstance(node, ast.ClassDef):
        bases = [getattr(pytest, base.attr, None) for base in node.bases if isinstance(base, ast.Attribute)]
        names = [part.name for part in node.body if isinstance(part, ast.FunctionDef) and is_private(part.name)]
        return next((name for name in names if any(hasattr(base, name) for base in bases)), None)
    if isinstance(node, ast.Attribute) and is_private(node.attr):
        own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        return None if own or ast.unparse(node) in PUBLIC else node.attr
    if isinstance(node, ast.Call) and called(node) in REACHING and len(node.args) > 1:
        name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
        return name if isinstance(name, str) and is_private(name) else None
    return None


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def too_long(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > LONGEST_FUNCTION:
            yield f"{node.lineno}: {node.name} is longer than {LONGEST_FUNCTION} lines"


def called(node: ast.Call) -> str:
    return ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""


def test_house_keeps_its_rules() -> None:
    """No module imports upwards or sideways, is longer than a module may be, or does what is never done."""
    assert problems(HOUSE) == []


def test_upper_floor_is_named() -> None:
    """A module at the top of the package is either of the upper floor by name, or a lower one: never undecided."""
    modules = {file.stem for file in HOUSE.glob("*.py")} - {"__init__"}
    assert modules <= UPPER | MAY_IMPORT.keys()


def test_types_are_shipped() -> None:
    """The package says to type checkers that its annotations count."""
    assert (HOUSE / "py.typed").is_file()


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        pytest.param("suite/a.py", "import pytest", "2: the lower floor never imports pytest", id="pytest"),
        pytest.param("rundir/a.py", "from _pytest.config import Config", "never imports _pytest", id="inner pytest"),
        pytest.param("report/a.py", "from xdist.dsession import DSession", "never imports xdist", id="xdist"),
        pytest.param("errors.py", "def f():\n    import pytest", "3: the lower floor", id="in a function"),
        pytest.param("suite/a.py", "if TYPE_CHECKING:\n    import pytest", "3: the lower floor", id="for types only"),
        pytest.param(
            "plugin/a.py",
            "import _pytest.mark",
            "_pytest is imported in cli.internals and plugin.internals alone",
            id="private",
        ),
        pytest.param(
            "cli/a.py", "def f():\n    from _pytest.mark import x", "3: _pytest is imported", id="private in cli"
        ),
        pytest.param(
            "plugin/xdist/a.py", "from xdist import dsession", "in plugin.xdist.internals alone", id="dsession"
        ),
        pytest.param("plugin/internals.py", "import execnet", "in plugin.xdist.internals alone", id="execnet"),
        pytest.param("plugin/a.py", "x = item._request", "2: _request is private to somebody else", id="attribute"),
        pytest.param("plugin/a.py", "self.session._items = []", "_items is private to somebody", id="behind self"),
        pytest.param("cli/a.py", "getattr(item, '_obj', None)", "_obj is private to somebody else", id="by getattr"),
        pytest.param(
            "plugin/a.py", "class A(pytest.Module):\n def _getobj(self): pass", "2: _getobj is", id="override"
        ),
        pytest.param("suite/a.py", "importlib.import_module('pytest')", "never imports pytest", id="by name"),
        pytest.param("suite/a.py", f"from {NAME}.plugin import x", "suite may not import plugin.x", id="upper floor"),
        pytest.param("evaluation/a.py", f"from {NAME} import cli", "may not import cli", id="upper module"),
        pytest.param("evaluation/a.py", f"import {NAME}.cli", "evaluation may not import cli", id="plain import"),
        pytest.param("evaluation/a.py", "from ..report import summary", "may not import report", id="relative"),
        pytest.param("evaluation/__init__.py", "from .. import cli", "may not import cli", id="relative in package"),
        pytest.param("suite/a.py", f"from {NAME}.rundir import layout", "suite may not import rundir", id="upwards"),
        pytest.param("suite/a.py", f"from {NAME} import metrics", "suite may not import metrics", id="by name alone"),
        pytest.param("registry.py", f"from {NAME}.suite import pairs", "registry may not import suite", id="registry"),
        pytest.param("metrics/a.py", f"from {NAME}.adapters import x", "may not import adapters.x", id="sideways"),
        pytest.param("__init__.py", f"from {NAME}.plugin import x", "may not import plugin.x", id="the package"),
        pytest.param("attic/a.py", "import os", "attic is no room of the house", id="unknown room"),
        pytest.param("cli/a.py", "import pickle", "pickle is never used", id="pickle"),
        pytest.param("cli/a.py", "from cloudpickle import dumps", "cloudpickle is never used", id="cloudpickle"),
        pytest.param("slots/a.py", "import fcntl", "fcntl is used in rundir.locks alone", id="flock"),
        pytest.param("plugin/a.py", "from fcntl import flock", "fcntl is used in rundir.locks", id="flock by name"),
        pytest.param("cli/a.py", "from filelock import FileLock", "filelock is used in rundir", id="another's lock"),
        pytest.param("slots/a.py", f"from {NAME}.rundir import runs", "slots may not import rundir.runs", id="room"),
        pytest.param("cli/a.py", "yaml.load(text, Loader)", "yaml.load is never called", id="yaml.load"),
        pytest.param("rundir/a.py", "json.loads(text)", "json.loads is called in suite.jsontext alone", id="json"),
        pytest.param("report/a.py", "csv.reader(file)", "csv.reader is called in suite.csvtext alone", id="csv"),
        pytest.param("cli/a.py", "subprocess.run(line, shell=True)", "shell= is never given", id="shell"),
        pytest.param("cli/a.py", "np.load(file, allow_pickle=yes)", "allow_pickle= is never given", id="numpy pickle"),
        pytest.param("cli/a.py", "def f():\n" + " x\n" * LONGEST_FUNCTION, "f is longer than 45 lines", id="function"),
        pytest.param("cli/a.py", "\n" * LONGEST, "longer than 400 lines", id="long"),
    ],
)
def test_breach_is_found(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    """Each rule can fail, and names the module, the line and the rule."""
    write(tmp_path / file, source)
    found = problems(tmp_path)
    assert found
    assert all(line.startswith(f"{file}:") and complaint in line for line in found)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        pytest.param("plugin/a.py", f"import pytest\nfrom {NAME}.evaluation import x", id="the upper floor sees all"),
        pytest.param("suite/a.py", f"from {NAME} import registry", id="kinds by name"),
        pytest.param("suite/a.py", f"from {NAME}.suite.pairs import Pair", id="own room"),
        pytest.param("adapters/a.py", f"from {NAME}.datasets.protocol import Sample", id="protocol"),
        pytest.param("evaluation/a.py", f"from {NAME}.rundir import durable", id="downwards"),
        pytest.param("slots/a.py", f"from {NAME}.rundir.locks import FileLock", id="one module of a room"),
        pytest.param("rundir/locks.py", "import fcntl", id="the one taker of locks"),
        pytest.param("plugin/internals.py", "from _pytest import x\nitem._request", id="the one place for pytest"),
        pytest.param("plugin/xdist/internals.py", "import xdist\nnode.gateway._io", id="the one place for xdist"),
        pytest.param("plugin/a.py", "class A(pytest.Module):\n def _own(self): pass", id="a method of its own"),
        pytest.param("plugin/a.py", "self._x\ncls._y\nos._exit(0)\nx.__doc__", id="nobody else's"),
        pytest.param("remote/a.py", "channel._handler", id="of others than pytest"),
        pytest.param("suite/jsontext.py", "json.loads(text)", id="the one reader of JSON"),
        pytest.param("plugin/units.py", "json.loads(text)", id="what the upper floor tells itself"),
        pytest.param("suite/a.py", "yaml.safe_load(text)\nsubprocess.run(words, shell=False)", id="safe calls"),
    ],
)
def test_good_module_is_let_in(tmp_path: Path, file: str, source: str) -> None:
    """What the rules allow is not complained about."""
    write(tmp_path / file, source)
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param({"suite/a.py": f"from {NAME}.suite import b", "suite/b.py": "from . import a"}, id="two"),
        pytest.param(
            {"suite/a.py": f"import {NAME}.suite.b", "suite/b.py": f"from {NAME}.suite.a import x"}, id="names"
        ),
        pytest.param(
            {"suite/a.py": "def f():\n    from .b import x", "suite/b.py": "if TYPE_CHECKING:\n    from .a import y"},
            id="late, and for types",
        ),
        pytest.param(
            {"suite/a.py": "from .b import x", "suite/b.py": "from .c import x", "suite/c.py": "from .a import x"},
            id="three",
        ),
        pytest.param(
            {"suite/__init__.py": "from .a import x", "suite/a.py": f"from {NAME}.suite import y"}, id="package"
        ),
    ],
)
def test_circle_is_found(tmp_path: Path, sources: dict[str, str]) -> None:
    """However the modules import each other; all that are in it are named, and who only looks in is not."""
    for name, source in {**sources, "suite/outside.py": "from . import a"}.items():
        write(tmp_path / name, source)
    names = sorted(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sources)
    assert problems(tmp_path) == [f"{', '.join(names)}: import each other in a circle"]


def test_two_classes_of_one_name_are_found(tmp_path: Path) -> None:
    """Public ones at the top of their modules, whichever rooms these are in."""
    for name in ("suite/a.py", "rundir/b.py"):
        write(tmp_path / name, "class Entry:\n    class Inner: ...\n\nclass _Own: ...")
    assert problems(tmp_path) == ["rundir.b, suite.a: two classes are called Entry"]


def write(file: Path, source: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"from __future__ import annotations\n{source}\n")
