"""Where a loaded model would be, of programs that are started only when their pair is asked."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.commands import program_of
from pytest_evalrun.suite.template import fill, names_in, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.suite.pairs import Pair


class StartedLater:
    """Nothing to load, and nothing to give back; whoever runs the program knows where its pair's files lie."""

    def __init__(self, pair: Pair) -> None:
        self._settings = pair.settings
        self._root = pair.root

    def load(self) -> None:
        """Raises PairError where the program is not there: nothing else must be done in vain before that is known."""
        if program_of(self._settings).shell:
            return
        word = words_of(program_of(self._settings).command or "")[0]
        if names_in(word):
            return
        name = fill(word, {})
        path = Path(self._root, name)
        if "/" not in name:
            reason = None if shutil.which(name) else "it is in no directory of PATH"
        elif not os.path.exists(path):  # noqa: PTH110 - of what no file can be called, too
            reason = os.strerror(errno.ENOENT)
        else:
            reason = None if os.access(path, os.X_OK) and path.is_file() else os.strerror(errno.EACCES)
        if reason:
            raise PairError(f"{name}: the program cannot be used: {reason}")

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        raise AssertionError(f"{len(batch)} samples: a program is asked by the predictor of its pair")

    def close(self) -> None:
        """Nothing was taken."""
