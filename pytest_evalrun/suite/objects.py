"""The user's own classes and functions: ``./file.py:Name``, or a dotted path."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import threading
from functools import lru_cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from types import CodeType, ModuleType

_lock = threading.RLock()
_modules: dict[tuple[str, str], ModuleType] = {}
_siblings: dict[str, dict[str, ModuleType]] = {}


class _FreshSource(SourceFileLoader):
    """Compiles what the file says now: a .pyc is trusted by time and size, and a quick edit can keep both."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the loader's signature
        return self.source_to_code(self.get_data(self.path), self.path)


def is_path_ref(ref: str) -> bool:
    """Tell whether a reference names a file, as in ``./file.py:Name``."""
    return ref.rpartition(":")[0].endswith(".py")


def load_object(ref: str, root: str) -> Any:
    """The object behind a reference; paths are relative to ``root``. Raises ConfigError saying what is missing."""
    if is_path_ref(ref):
        file, _, name = ref.rpartition(":")
        path = _file(ref, root)
        return _attribute(_load_file(path), name, ref, file)
    module, name = split_dotted(ref)
    _reach(module, root)
    return _attribute(_import(module, ref), name, ref, module)


@lru_cache(maxsize=256)
def source_file(ref: str, root: str) -> Path | None:
    """The .py file behind a reference, found without running it; None for what is compiled or built in."""
    if is_path_ref(ref):
        return _file(ref, root)
    module = split_dotted(ref)[0]
    _reach(module, root)
    return _source_of_module(module, ref)


def split_dotted(ref: str) -> tuple[str, str]:
    """``package.module:Name`` or ``package.module.Name`` → module and name. Raises ConfigError for anything else."""
    module, _, name = ref.partition(":") if ":" in ref else ref.rpartition(".")
    words = [*module.split("."), *name.split(".")]
    if not all(word.isidentifier() for word in words):
        raise ConfigError(f"found {ref!r}; accepted: ./file.py:Name, package.module:Name")
    return module, name


def _file(ref: str, root: str) -> Path:
    path = Path(root, ref.rpartition(":")[0])
    if not os.path.isfile(path):  # noqa: PTH113 - of what no file can be called, too
        raise ConfigError(f"{ref!r}: there is no file {path}")
    return path.resolve()


def _load_file(path: Path) -> ModuleType:
    """The module of a file, executed once per process and content."""
    key = (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    with _lock:
        if key not in _modules:
            _modules[key] = _execute(path, f"evalrun_{path.stem}_{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}")
        return _modules[key]


def _execute(path: Path, name: str) -> ModuleType:
    loader = _FreshSource(name, str(path))
    spec = ModuleSpec(name, loader, origin=str(path))
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        _with_siblings(str(path.parent), functools.partial(loader.exec_module, module))
    except Exception as error:
        del sys.modules[name]
        line = None if isinstance(error, SyntaxError) else _line(error, path)  # that error says its line itself
        where = f" (line {line})" if line else ""
        raise ConfigError(f"{path}: cannot be imported: {type(error).__name__}: {error}{where}") from error
    return module


def _line(error: Exception, path: Path) -> int | None:
    trace, line = error.__traceback__, None
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _with_siblings(directory: str, execute: functools.partial[None]) -> None:
    """Files may import their neighbours; neighbours of one name in two suites must not be taken for each other."""
    known = _siblings.setdefault(directory, {})
    sys.modules.update(known)
    sys.path.insert(0, directory)
    importlib.invalidate_caches()
    before = set(sys.modules)
    try:
        execute()
    finally:
        sys.path.remove(directory)
        known.update((name, sys.modules[name]) for name in _new_below(directory, before))
        for name in known:
            sys.modules.pop(name, None)


def _new_below(directory: str, before: set[str]) -> list[str]:
    inside = f"{directory}/"
    new = sys.modules.keys() - before
    return [name for name in new if (getattr(sys.modules[name], "__file__", None) or "").startswith(inside)]


def _reach(module: str, root: str) -> None:
    """Let a dotted name be one of the suite's directory, where it is found nowhere else.

    Projects that are run in their own directory, as AgentBench is, have their code there, and not on the path.
    """
    top = os.path.join(root, module.partition(".")[0])  # noqa: PTH118 - as above
    if root not in sys.path and (os.path.isdir(top) or os.path.isfile(f"{top}.py")):  # noqa: PTH112, PTH113
        sys.path.append(root)
        importlib.invalidate_caches()


def _import(module: str, ref: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise ConfigError(f"{ref!r}: {module} cannot be imported: {type(error).__name__}: {error}") from error


def _source_of_module(module: str, ref: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{ref!r}: {module} cannot be found: {error}") from error
    if spec is None:
        raise ConfigError(f"{ref!r}: there is no module {module}")
    return Path(spec.origin) if spec.has_location and spec.origin and spec.origin.endswith(".py") else None


def _attribute(module: ModuleType, name: str, ref: str, where: str) -> Any:
    found: Any = module
    for word in name.split("."):
        if not hasattr(found, word):
            parts = vars(module).items()
            own = [part for part, value in parts if getattr(value, "__module__", None) == module.__name__]
            defined = ", ".join(part for part in own if not part.startswith("_")) or "nothing"
            raise ConfigError(f"{ref!r}: {where} has no {name!r}; it defines: {defined}")
        found = getattr(found, word)
    return found
