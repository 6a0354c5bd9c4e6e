"""The files of a suite that travel with a program to a board: those that its command names, and `upload`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.command_template import named_files
from pytest_evalrun.programs.commands import program_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.suite.settings import Settings


def sent_files(settings: Settings, root: str) -> list[tuple[Path, str]]:
    """Each with its name below the suite's directory, which it has on the board too."""
    named = [path for _, path in named_files(settings, root)]
    chosen = [path for pattern in program_of(settings).upload for path in _chosen(pattern, root)]
    inside = {str(path.relative_to(root)): path for path in (*named, *chosen) if path.is_relative_to(root)}
    return [(path, name) for name, path in sorted(inside.items()) if ".." not in Path(name).parts]


def _chosen(pattern: str, root: str) -> Iterator[Path]:
    """A file, everything below a directory, or what a glob finds. Raises PairError where that is nothing."""
    path = Path(root, pattern)
    try:
        if path.is_dir():
            found = [one for one in sorted(path.rglob("*")) if one.is_file()]
        else:
            found = [path] if path.is_file() else sorted(one for one in Path(root).glob(pattern) if one.is_file())
    except OSError as error:
        raise PairError(f"upload: found {pattern!r}: {error.strerror}") from None
    if not found:
        raise PairError(f"upload: found {pattern!r}, which matches no file below {root}")
    yield from found
