"""Runs a module as ``python -m`` does, and writes down which modules of a package control passes on its way.

    python passages.py PACKAGE ANSWER.json -m MODULE [ARGUMENT ...]

Only calls of the main thread count: when others run is chance. A call counts as a passage where the nearest caller of
the package, whoever of other packages stands between, is another module; what an import runs is no passage, or the
figure would be that of the imports. Nothing of the package is imported here.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

BODY = "<module>"


class Passages:
    """Counts as ``sys.setprofile`` calls it. Modules go by their paths below the package."""

    def __init__(self, package: str) -> None:
        self._package = f"{package}/"
        self.imported: Counter[str] = Counter()
        self.ran: Counter[str] = Counter()
        self.passages: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not (module := self._module(frame)):
            return
        if frame.f_code.co_name == BODY:
            self.imported[module] += 1
            return
        callers = self._callers(frame)
        if any(name == BODY for _, name in callers):
            return
        self.ran[module] += 1
        if callers and callers[0][0] != module:
            self.passages[f"{callers[0][0]} -> {module}"] += 1

    def _module(self, frame: FrameType) -> str:
        name = frame.f_code.co_filename
        return name.removeprefix(self._package) if name.startswith(self._package) else ""

    def _callers(self, frame: FrameType) -> list[tuple[str, str]]:
        """Module and name of each function of the package that waits for this one, the nearest first."""
        found = []
        caller = frame.f_back
        while caller is not None:
            if module := self._module(caller):
                found.append((module, caller.f_code.co_name))
            caller = caller.f_back
        return found

    def written(self) -> str:
        counters = {"imported": self.imported, "ran": self.ran, "passages": self.passages}
        return json.dumps({name: dict(counter.most_common()) for name, counter in counters.items()})


def main(package: str, answer: str, _: str, module: str, *arguments: str) -> None:
    passages = Passages(package)
    sys.argv = [module, *arguments]
    sys.setprofile(passages)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.setprofile(None)
        Path(answer).write_text(passages.written())


if __name__ == "__main__":
    main(*sys.argv[1:])
