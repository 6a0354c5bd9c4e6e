"""Where an export goes: a directory in which what somebody else has put stays as it is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MARKER = ".evalrun-export.json"
FORMAT = 1
REMEDY = "accepted: another directory, or --force to replace what is there"


class ExportTarget:
    """A directory and what of it was written by exports: the files that may be replaced.

    ``kind`` is the format. What somebody has changed since it was written is his own. ``force``: all may be replaced.
    """

    def __init__(self, directory: Path, kind: str, *, force: bool = False) -> None:
        self.directory = directory
        self._kind = kind
        self._force = force
        self._known = self._read()

    def claim(self, names: Iterable[Sequence[str]]) -> list[Path]:
        """The paths of files that are about to be written, by the parts of their names.

        Raises ConfigError for the first of them that is there and not ours: then nothing was written.
        """
        paths = [self.directory.joinpath(*parts) for parts in names]
        for path in paths:
            self._check(path)
        # What a crash leaves half done is ours as well.
        self._known |= dict.fromkeys(map(self._name, paths))
        self._write()
        return paths

    def close(self) -> None:
        """Note all that was written as it lies there now."""
        self._known = {name: self._stat(name) for name in self._known}
        self._write()

    def _check(self, path: Path) -> None:
        name = self._name(path)
        found = self._stat(name)
        if found is None or self._force:
            if os.path.isdir(path):  # noqa: PTH112 - not where a link leads
                raise ConfigError(f"{path}: a directory is in the way of a file; accepted: another directory")
            return
        if name not in self._known:
            raise ConfigError(f"{path}: it exists and was not written by evalrun export; {REMEDY}")
        if self._known[name] not in (None, found):
            raise ConfigError(f"{path}: somebody has changed it since it was exported; {REMEDY}")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.directory).as_posix()

    def _stat(self, name: str) -> list[int] | None:
        """Size and time of a file, None where there is none."""
        try:
            found = os.lstat(self.directory / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return [found.st_size, found.st_mtime_ns]

    def _read(self) -> dict[str, list[int] | None]:
        """What earlier exports have left; nothing where nobody can say."""
        try:
            content = parse_json(read_file(self.directory / MARKER))
            files: Any = content["files"]
        except FileNotFoundError:
            return {}
        except NotADirectoryError:
            raise ConfigError(f"{self.directory}: it is a file; accepted: a directory to be written to") from None
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {str(name): stat for name, stat in files.items()} if isinstance(files, dict) else {}

    def _write(self) -> None:
        content = {"format": FORMAT, "export": self._kind, "files": self._known}
        write_atomic(self.directory / MARKER, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
