"""Counts how the package is built: ``make house``, or ``python -m tools.house [-v] [DIRECTORY OF ANOTHER CHECKOUT]``.

All figures but the first row's are read from the sources by their shape, so that one script counts two checkouts
alike, whatever things are called there. ``-v`` names what was counted.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import tokenize
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tests.unit.test_house import NAME, called, circles, module_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef

KIND_WORDS = frozenset({"way", "needs_board", "runs_on_board", "has_environment"})
CUT_WORDS = frozenset({"cut", "cuts"})
RUNNERS = frozenset({"run", "run_there"})
SHORT = 2
# One pair that does nothing, of one sample.
SUITE = {
    "pytest.ini": "[pytest]\n",
    "model.py": "def predict(batch):\n    return [sample.input for sample in batch]\n",
    "data.jsonl": '{"x": "text", "y": "text"}\n',
    "evalrun.yaml": """adapter: ./model.py:predict
format: jsonl
inputs: [x]
reference: y
metrics: [exact_match]
models: [{name: model}]
datasets: [{name: data, path: data.jsonl}]
""",
}
# What a comment says to a tool explains nothing.
FOR_TOOLS = re.compile(r"#\s*(noqa|type:|pragma|mypy:|fmt:)")


@dataclass(frozen=True)
class Row:
    """A line of the table: what was counted, the figure, and the names of what was counted where that helps."""

    what: str
    figure: str
    names: tuple[str, ...] = ()


def main(arguments: list[str]) -> None:
    places = [Path(argument) for argument in arguments if argument != "-v"]
    root = (places[0] if places else Path(__file__).parents[1]).resolve()
    for row in [*path_of_a_pair(root), *House(root / NAME).rows()]:
        print(f"| {row.what} | {row.figure} |")  # noqa: T201
        for name in row.names if "-v" in arguments else ():
            print(f"|     {name} | |")  # noqa: T201


class House:
    """The sources of a package, read once; modules go by their names without the package's."""

    def __init__(self, package: Path) -> None:
        self.package = package
        files = sorted(package.rglob("*.py"))
        self.texts = {module_name(package, file): file.read_text(encoding="utf-8") for file in files}
        self.trees = {module: ast.parse(text) for module, text in self.texts.items()}

    def rows(self) -> list[Row]:
        rings = [", ".join(sorted(circle)) for circle in circles(self.package)]
        lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for _, node in self.functions)
        lines, comments = self.lines, sum(map(comments_in, self.texts.values()))
        return [
            listed("import circles", rings),
            listed("public classes of one name", self.same_names()),
            listed("calls of flock", self.calls({"flock", "lockf"})),
            listed("places that make a FileLock", self.calls({"FileLock"})),
            listed("files that ask what kind a pair is", self.files_with(asks_kind)),
            listed("files that ask for pair.cut or pair.cuts", self.files_with(asks_cut)),
            listed("classes that ask a model: run(samples), which keeps what is predicted", self.asking_classes()),
            listed("classes that run a program: run(argv, …), or call what does", self.program_classes()),
            Row("modules", str(len(self.texts))),
            Row("lines, blank ones apart", f"{lines:,}"),
            Row("length of functions, p50 and p90", f"{percentile(lengths, 50)} and {percentile(lengths, 90)}"),
            Row("comments in 100 lines", f"{100 * comments / lines:.1f}"),
            listed(f"functions of at most {SHORT} statements that are named once", self.called_once()),
        ]

    @property
    def lines(self) -> int:
        return sum(bool(line.strip()) for text in self.texts.values() for line in text.splitlines())

    @cached_property
    def functions(self) -> list[tuple[str, Function]]:
        return [(module, node) for module, node in self.nodes() if isinstance(node, Function)]

    @cached_property
    def classes(self) -> list[tuple[str, ast.ClassDef]]:
        """Those that do something: a Protocol only says what others do."""
        return [
            (module, node)
            for module, node in self.nodes()
            if isinstance(node, ast.ClassDef) and "Protocol" not in map(ast.unparse, node.bases)
        ]

    def nodes(self) -> Iterator[tuple[str, ast.AST]]:
        return ((module, node) for module, tree in self.trees.items() for node in ast.walk(tree))

    def same_names(self) -> list[str]:
        """Names of public classes, Protocols too, at the top of two modules or more."""
        homes: dict[str, list[str]] = {}
        for module, tree in self.trees.items():
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(module)
        return [f"{name}: {', '.join(modules)}" for name, modules in sorted(homes.items()) if len(modules) > 1]

    def calls(self, names: set[str]) -> list[str]:
        return [
            f"{module}:{node.lineno}"
            for module, node in self.nodes()
            if isinstance(node, ast.Call) and called(node).rpartition(".")[2] in names
        ]

    def files_with(self, asks: Callable[[ast.AST], bool]) -> list[str]:
        return [module for module, tree in self.trees.items() if any(map(asks, ast.walk(tree)))]

    def asking_classes(self) -> list[str]:
        """Classes that are given all samples of a pair and return nothing: they keep the predictions themselves."""
        return [f"{module} {node.name}" for module, node in self.classes if any(map(asks_model, node.body))]

    def stubs(self) -> Iterator[ast.AST]:
        """Methods of Protocols."""
        real = {id(node) for _, node in self.classes}
        for _, node in self.nodes():
            if isinstance(node, ast.ClassDef) and id(node) not in real:
                yield from node.body

    def program_classes(self) -> list[str]:
        return [f"{module} {node.name}" for module, node in self.classes if any(map(runs_program, ast.walk(node)))]

    def called_once(self) -> list[str]:
        """Functions that neither a decorator nor a Protocol asks for: private ones of their module, others of all.

        One name of two functions tells nothing of either, so only names that are defined once in that range count.
        """
        uses = {module: Counter(filter(None, map(used, ast.walk(tree)))) for module, tree in self.trees.items()}
        makers: dict[str, Counter[str]] = {module: Counter() for module in self.trees}
        for module, node in self.functions:
            makers[module][node.name] += 1
        stubs = {id(node) for node in self.stubs()}
        all_uses, all_makers = sum(uses.values(), Counter[str]()), sum(makers.values(), Counter[str]())

        def is_named_once(module: str, name: str) -> bool:
            private = name.startswith("_")
            return (
                (makers[module] if private else all_makers)[name] == (uses[module] if private else all_uses)[name] == 1
            )

        return [
            f"{module}:{node.lineno} {node.name}"
            for module, node in self.functions
            if statements(node) <= SHORT
            and not node.decorator_list
            and id(node) not in stubs
            and is_named_once(module, node.name)
        ]


def listed(what: str, names: list[str]) -> Row:
    return Row(what, str(len(names)), tuple(names))


def asks_kind(node: ast.AST) -> bool:
    """Another's kind: ``settings.kind.needs_board(…)``, and what a kind asks of itself is not meant."""
    return (
        isinstance(node, ast.Attribute) and node.attr in KIND_WORDS and ast.unparse(node.value) not in {"self", "cls"}
    )


def asks_cut(node: ast.AST) -> bool:
    owner = ast.unparse(node.value) if isinstance(node, ast.Attribute) and node.attr in CUT_WORDS else ""
    return owner.rpartition(".")[2].lstrip("_") == "pair"


def asks_model(node: ast.AST) -> bool:
    if not isinstance(node, Function) or node.name != "run":
        return False
    samples = any(arg.annotation and ast.unparse(arg.annotation) == "Iterable[Sample]" for arg in node.args.args)
    return samples and node.returns is not None and ast.unparse(node.returns) == "None"


def runs_program(node: ast.AST) -> bool:
    if isinstance(node, Function):
        return node.name == "run" and "argv" in {arg.arg for arg in node.args.args}
    return isinstance(node, ast.Call) and called(node) in RUNNERS


def used(node: ast.AST) -> str | None:
    """The name that a piece of source asks for, a bare one or behind a dot."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def statements(node: Function) -> int:
    """All of them, inner ones too; a docstring is none."""
    inner = sum(isinstance(part, ast.stmt) for part in ast.walk(node)) - 1
    return inner - bool(ast.get_docstring(node))


def comments_in(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and not FOR_TOOLS.match(token.string) for token in tokens)


def percentile(ordered: list[int], percent: int) -> int:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0


def path_of_a_pair(root: Path) -> list[Row]:
    """What one Python pair passes at ``-n0``, from the start of pytest to the end of its summary."""
    with tempfile.TemporaryDirectory() as place:
        suite = Path(place) / "suite"
        suite.mkdir()
        for name, text in SUITE.items():
            (suite / name).write_text(text)
        installed = Path(place) / "installed"
        declare(root, installed)
        found = trace(root, suite, [str(installed), str(root)], "-m", "pytest", "-n0", "-p", "no:cacheprovider")
    passages = [f"{number:5} {passage}" for passage, number in found["passages"].items()]
    total = sum(found["passages"].values())
    return [
        Row(
            "modules that one Python pair passes, imported only ones apart", str(len(found["ran"])), tuple(found["ran"])
        ),
        Row("modules that it imports", str(len(found["imported"]))),
        Row("changes of module on its way", f"{total:,}", tuple(passages)),
    ]


def declare(root: Path, installed: Path) -> None:
    """Entry points of a checkout, as an installation would declare them: first on the path, they hide those of ours."""
    with (root / "pyproject.toml").open("rb") as file:
        groups = tomllib.load(file)["project"]["entry-points"]
    place = installed / f"{NAME}-0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-evalrun\nVersion: 0\n")
    points = "\n".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in groups.items()
    )
    (place / "entry_points.txt").write_text(points)


def trace(root: Path, cwd: Path, path: list[str], *arguments: str) -> dict[str, dict[str, int]]:
    """Run a module of Python under the profiler of ``tools/passages.py``, in a process and a TMPDIR of its own.

    What other sessions left in the usual TMPDIR is looked at by each that starts, and would be counted.
    """
    answer, temporary = cwd.parent / "passages.json", cwd.parent / "tmp"
    temporary.mkdir()
    command = [sys.executable, str(Path(__file__).with_name("passages.py")), str(root / NAME), str(answer), *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TMPDIR": str(temporary), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{root}: what is traced failed:\n{done.stdout}{done.stderr}")
    found: dict[str, dict[str, int]] = json.loads(answer.read_text())
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
