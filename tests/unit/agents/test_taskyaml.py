"""AgentBench's YAML: imports, defaults and overwrites, merged by its rules."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.agents.tasks.taskyaml import load_agentbench
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

LAID_OUT: dict[str, tuple[str, dict[str, Any]]] = {
    "default lies below": (
        "default: {a: 1, b: {c: 1, d: 1}}\nx: {a: 2, b: {c: 2}}\ny: {}\n",
        {"x": {"a": 2, "b": {"c": 2, "d": 1}}, "y": {"a": 1, "b": {"c": 1, "d": 1}}},
    ),
    "overwrite lies above": (
        "overwrite: {a: 1}\nx: {a: 2, b: 2}\n",
        {"x": {"a": 1, "b": 2}},
    ),
    "both": (
        "default: {a: 1, b: 1}\noverwrite: {b: 3}\nx: {a: 2, b: 2}\n",
        {"x": {"a": 2, "b": 3}},
    ),
    "lists are concatenated": (
        "default: {a: [1]}\noverwrite: {a: [3]}\nx: {a: [2]}\n",
        {"x": {"a": [1, 2, 3]}},
    ),
    "another kind of value replaces": (
        "default: {a: [1], b: {c: 1}}\noverwrite: {d: {e: 1}}\nx: {a: 2, b: null, d: 4}\n",
        {"x": {"a": 2, "b": None, "d": {"e": 1}}},
    ),
    "an entry that is no mapping": (
        "default: {a: 1}\nx: 3\ny:\n",
        {"x": 3, "y": None},
    ),
    "inside lists and inside defaults": (
        "xs:\n- {default: {a: 1}, y: {}}\nz: {default: {default: {a: 1}, b: {}}, c: {}}\n",
        {"xs": [{"y": {"a": 1}}], "z": {"c": {"b": {"a": 1}}}},
    ),
    "scalars of YAML 1.1": ("a: no\nb: 010\nkey: ${NAME}\n", {"a": False, "b": 8, "key": "${NAME}"}),
}
FILES = {
    "start.yaml": "definition: {import: tasks/all.yaml}\nstart: {sql: 2}\n",
    "tasks/all.yaml": """
        default: {docker: {command: umask 0}}
        import:
        - sql.yaml
        - more/os.yml
        - plain.json
        os: {files: [z]}
        """,
    "tasks/sql.yaml": """
        default: {module: m.Sql, parameters: {concurrency: 1}}
        sql: {parameters: {name: sql}}
        """,
    "tasks/more/os.yml": "os: {import: ../shared.yaml, files: [y]}\n",
    "tasks/shared.yaml": "{module: m.Os, files: [x]}\n",
    "tasks/plain.json": '{"plain": {"module": "m.Plain"}}',
}
MISTAKES = {
    "no such file": ({"a.yaml": "x:\n  import: b.yaml\n"}, r"a\.yaml:2: import: .*b\.yaml: cannot be read: No such"),
    "one of a list": (
        {"a.yaml": "import:\n- b.yaml\n- c.yaml\n", "b.yaml": "{}"},
        r"a\.yaml:3: import: .*c\.yaml: cannot be read",
    ),
    "a circle": (
        {"a.yaml": "\nimport: b.yaml\n", "b.yaml": "x:\n\n  import: c.yaml\n", "c.yaml": "{import: [b.yaml]}"},
        r"c\.yaml:1: import: files that import each other in a circle: \S*b\.yaml → \S*c\.yaml → \S*b\.yaml; accepted",
    ),
    "itself": ({"a.yaml": "import: ./a.yaml\n"}, r"a\.yaml:1: import: files that import each other in a circle"),
    "no path": ({"a.yaml": "x: {import: 3}\n"}, r"a\.yaml:1: import: found 3; accepted: the path of a file, or a list"),
    "a list with no path": ({"a.yaml": "import: [b.yaml, {}]\n"}, r"a\.yaml:1: import: found \['b\.yaml', \{\}\]"),
    "another kind of file": ({"a.yaml": "import: b.txt\n"}, r"a\.yaml:1: import: .*b\.txt: found a file named \*\.txt"),
    "no YAML": ({"a.yaml": "import: b.yaml\n", "b.yaml": "x: 1\ny: [\n"}, r"b\.yaml:3: not YAML: "),
    "no JSON": ({"a.yaml": "import: b.json\n", "b.json": "{\n]"}, r"b\.json:2: not JSON: "),
    "a tag": ({"a.yaml": "x: !!python/object/apply:os.getcwd []\n"}, r"a\.yaml:1: not YAML: could not determine"),
    "a list on top": ({"a.yaml": "- 1\n"}, r"a\.yaml:1: found \[1\]; accepted: a mapping"),
    "nothing": ({"a.yaml": ""}, r"a\.yaml:1: found None; accepted: a mapping"),
    "an alias to itself": ({"a.yaml": "x: &x [*x]\n"}, r"a\.yaml: nested too deeply"),
    "nested too deeply": ({"a.yaml": "x: " + "[" * 5000 + "]" * 5000}, r"a\.yaml: nested too deeply"),
    "no date": ({"a.yaml": "x: 2024-13-45\n"}, r"a\.yaml: not YAML: month"),
}


def written(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(textwrap.dedent(text))
    return directory / next(iter(files))


@pytest.mark.parametrize(("text", "values"), LAID_OUT.values(), ids=LAID_OUT)
def test_defaults_and_overwrites_are_merged_as_agentbench_does(
    tmp_path: Path, text: str, values: dict[str, Any]
) -> None:
    """``default`` lies below and ``overwrite`` above each entry beside it; lists are concatenated."""
    assert load_agentbench(written(tmp_path, {"a.yaml": text})) == values


def test_imports_are_relative_to_the_file_that_says_so_and_lie_below_what_stands_beside_them(tmp_path: Path) -> None:
    """A file is found from the directory of the one that imports it, at any depth, and its own words win."""
    docker = {"docker": {"command": "umask 0"}}
    assert load_agentbench(written(tmp_path, FILES)) == {
        "definition": {
            "sql": {"module": "m.Sql", "parameters": {"concurrency": 1, "name": "sql"}, **docker},
            "os": {"module": "m.Os", "files": ["x", "y", "z"], **docker},
            "plain": {"module": "m.Plain", **docker},
        },
        "start": {"sql": 2},
    }


def test_a_file_that_is_imported_twice_says_the_same_twice(tmp_path: Path) -> None:
    """What a file says does not depend on who has imported it before, and nobody can change it for others."""
    files = {"a.yaml": "x: {import: b.yaml}\ny: {import: b.yaml}\n", "b.yaml": "default: {p: [1]}\nq: {}\nr: {}\n"}
    values = load_agentbench(written(tmp_path, files))
    assert values == {"x": {"q": {"p": [1]}, "r": {"p": [1]}}, "y": {"q": {"p": [1]}, "r": {"p": [1]}}}
    values["x"]["q"]["p"].append(2)
    assert values["x"]["r"]["p"] == values["y"]["q"]["p"] == [1]


@pytest.mark.parametrize(("files", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_name_file_and_line(tmp_path: Path, files: dict[str, str], said: str) -> None:
    """Each mistake is one line with the file, the line where there is one, and what is accepted."""
    with pytest.raises(ConfigError, match=said) as caught:
        load_agentbench(written(tmp_path, files))
    assert "\n" not in str(caught.value)
