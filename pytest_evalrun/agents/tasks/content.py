"""What the samples of a task depend on that we start ourselves: its code, its parameters, and files that these name."""

from __future__ import annotations

import glob
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.listing import list_files
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.objects import is_path_ref, split_dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.agents.tasks.definitions import TaskDefinition
    from pytest_evalrun.datasets.protocol import Hashes

# How much a task does at once, and which words that says: it changes no sample.
_OF_SPEED = frozenset({"concurrency"})
_CACHES = "__pycache__"
# Words in the name of a parameter that say that the task writes there: what it writes is none of its data.
_WRITTEN = frozenset({"cache", "log", "logs", "out", "output", "outputs", "result", "results", "save", "temp", "tmp"})
_WORD = re.compile(r"[A-Za-z][a-z]*")
# No longer text is the name of a file.
LONGEST_NAME = 1000


def content_of(task: TaskDefinition, root: str, hashes: Hashes) -> dict[str, Any]:
    """Named parts, which JSON knows, by content: a clone elsewhere has the same. Raises PairError."""
    parameters = {key: value for key, value in task.entry.get("parameters", {}).items() if key not in _OF_SPEED}
    parts: dict[str, Any] = {"module": task.entry["module"], "parameters": _portable(parameters, root)}
    try:
        parts["code"] = _code(task.entry["module"], root, hashes)
        parts["files"] = dict(_files(parameters, root, hashes))
    except OSError as error:
        raise PairError(f"task {task.name}: {error.filename}: cannot be read: {error.strerror}") from None
    if task.image is not None:
        parts["image"] = task.image
    return parts


def source_of(module: str, root: str) -> Path | None:
    """The file that a task's class is in, found without importing anything; None where it is in none."""
    if is_path_ref(module):
        return Path(root, module.rpartition(":")[0]).resolve()
    words = split_dotted(module)[0].split(".")
    for base in (root, *sys.path):
        place = Path(base or ".", *words)
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def _code(module: str, root: str, hashes: Hashes) -> str | None:
    """Of a file that is named its content; of a module that of all Python files of the package which it is in.

    What else lies there may be what the task itself writes; data that it reads count where its parameters name them.
    """
    source = source_of(module, root)
    if source is None:
        return None
    in_package = not is_path_ref(module) and (source.name == "__init__.py" or "." in split_dotted(module)[0])
    return _tree(source.parent, hashes, ".py") if in_package else hashes.file(source)


def _tree(directory: Path, hashes: Hashes, suffix: str = "") -> str:
    names = list_files(directory, frozenset())
    return hashes.tree(directory, [name for name in names if name.endswith(suffix) and _CACHES not in name])


def _files(parameters: Any, root: str, hashes: Hashes) -> Iterator[tuple[str, str]]:
    """The files and directories below the suite that parameters name, by what they name."""
    for text in sorted(set(_texts(parameters))):
        path = os.path.normpath(os.path.join(root, text))  # noqa: PTH118 - of any text
        if len(text) > LONGEST_NAME or "\0" in text or not path.startswith(f"{root}{os.sep}"):
            continue
        name = os.path.relpath(path, root)
        if os.path.isfile(path):  # noqa: PTH113 - as above
            yield name, hashes.file(Path(path))
        elif os.path.isdir(path):  # noqa: PTH112
            yield name, _tree(Path(path), hashes)
        elif glob.has_magic(name) and (matches := _matches(name, root)):
            yield name, hashes.tree(Path(root), matches)


def _matches(pattern: str, root: str) -> list[str]:
    found = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207 - text, as all of these
    return sorted(name for name in found if os.path.isfile(os.path.join(root, name)))  # noqa: PTH113, PTH118


def _texts(value: Any) -> Iterable[str]:
    """The texts in parameters that may name what is read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else (("", entry) for entry in value)
        for key, entry in entries:
            if _WRITTEN.isdisjoint(word.lower() for word in _WORD.findall(str(key))):
                yield from _texts(entry)


def _portable(value: Any, root: str) -> Any:
    """Take the suite's own place off paths."""
    if isinstance(value, str):
        return value.removeprefix(f"{root}{os.sep}")
    if isinstance(value, dict):
        return {str(key): _portable(entry, root) for key, entry in value.items()}
    return [_portable(entry, root) for entry in value] if isinstance(value, list) else value
