"""What AgentBench's tasks import of AgentBench itself, for tasks that lie outside of its repository.

The user's own ``src`` package comes first, and keeps all that it has: whatever of it is missing is supplied.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

_HERE = __name__
# Modules by their names, and ours that has what they hold; packages have none.
_MODULES = {
    "src": None,
    "src.server": None,
    "src.server.task": f"{_HERE}.task",
    "src.typings": f"{_HERE}.typings",
} | {
    f"src.typings.{name}": f"{_HERE}.typings"
    for name in ("config", "exception", "general", "output", "request", "status")
}
_PACKAGES = ("src", "src.server", "src.typings")


class _Supplied(Loader):
    def __init__(self, holder: str | None) -> None:
        self._holder = holder

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - the loader's signature
        return None

    def exec_module(self, module: ModuleType) -> None:
        """What it holds is that of ours, under its own name."""
        if self._holder is not None:
            held = vars(importlib.import_module(self._holder))
            module.__doc__ = held["__doc__"]
            vars(module).update({name: value for name, value in held.items() if not name.startswith("_")})


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        return ModuleSpec(fullname, _Supplied(_MODULES[fullname]), is_package=fullname in _PACKAGES)


def supply() -> None:
    """From now on what is missing of ``src`` is found, behind everything that others find."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
