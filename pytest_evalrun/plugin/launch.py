"""The processes of one launch share a temporary directory, in which each thing is made once.

Launches in one process share modules that cannot be imported twice.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
import uuid
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    import pytest

    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.rundir.launches import LaunchNote
    from pytest_evalrun.rundir.locks import FileLock

# In a worker's input: the launching process.
LAUNCHER = "evalrun_pid"
_kept: dict[str, ModuleType] = {}
_NAME = re.compile(r"evalrun-[0-9a-f]{32}")
_ALIVE = "alive"
# So often in a row nobody is unlucky.
MOST_SWEPT = 100
# Where the processes of a launch keep what they share of task servers that were started for them.
SERVERS = "servers"


def keep_imports() -> None:
    """Remember the packages that are partly in C. Of these a process has one copy of the C part, for ever.

    Whoever runs pytest inside of a test makes Python forget what was imported meanwhile, and the other part, imported
    again, would not fit: yaml reads nothing then, numpy refuses.
    """
    suffixes = tuple(EXTENSION_SUFFIXES)
    files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    packages = {name.partition(".")[0] for name, file in files.items() if file.endswith(suffixes)}
    _kept.update((name, module) for name, module in sys.modules.items() if name.partition(".")[0] in packages)


def revive_imports() -> None:
    """Bring back the packages of an earlier launch in this process, before anything of ours is imported."""
    there = set(sys.modules)
    sys.modules.update((name, module) for name, module in _kept.items() if name.partition(".")[0] not in there)


class LaunchDir:
    """Named by the launching process, made by whoever first needs it, removed by the launching process.

    Discovery must give every worker the same list, a replacement for a crashed one included, whatever happens on
    disk meanwhile: so the first one's finding is published, and all others read that.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(tempfile.gettempdir(), f"evalrun-{uuid.uuid4().hex}")
        self._ours = False
        self._alive: FileLock | None = None

    def once(self, name: str, make: Callable[[], str]) -> str:
        """The text published under ``name``; made and published by the first that asks."""
        text = self.read(name)
        if text is not None:
            return text
        with self._locked():
            text = self.read(name)
            if text is None:
                text = make()
                self.publish(name, text)
        return text

    def read(self, name: str) -> str | None:
        try:
            text = (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        if not self._ours:
            self._make()
        return text

    def publish(self, name: str, text: str) -> None:
        """Whole or not at all: written aside, then renamed."""
        self._make()
        aside = self.path / f".{name}.{os.getpid()}"
        aside.write_text(text, encoding="utf-8")
        aside.rename(self.path / name)

    def remove(self) -> None:
        """Task servers that were started for this launch give back what they have first."""
        if (servers := self.path / SERVERS).is_dir():
            from pytest_evalrun.agents.launch.embedded import end_servers

            end_servers(servers)
        shutil.rmtree(self.path, ignore_errors=True)
        if self._alive is not None:
            self._alive.close()
            self._alive = None

    def _make(self) -> None:
        """Make the directory for this user alone: nobody else may plant a list of pairs here."""
        from pytest_evalrun.errors import ConfigError
        from pytest_evalrun.rundir.tasklock import own_directory

        try:
            for _ in range(MOST_SWEPT):
                os.close(own_directory(self.path))
                with suppress(FileNotFoundError):  # another launch has just taken it for a leftover
                    self._stay()
                    break
            self._ours = True
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be used for this launch: {error.strerror}") from error

    def _stay(self) -> None:
        """As long as one process of the launch lives, nobody takes its directory for a leftover."""
        from pytest_evalrun.rundir.locks import FileLock

        if self._alive is None:
            alive = FileLock(self.path / _ALIVE)
            alive.take(shared=True, wait=None)
            self._alive = alive

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from pytest_evalrun.rundir.locks import FileLock

        self._make()
        with FileLock(self.path / "lock") as lock:
            lock.take(wait=None)
            yield


def sweep_launches() -> None:
    """Remove the directories of launches of this user whose processes are all dead: after SIGKILL nobody else does."""
    place = Path(tempfile.gettempdir())
    try:
        names = [name for name in os.listdir(place) if _NAME.fullmatch(name)]  # noqa: PTH208 - of all, a few count
    except OSError:
        return
    for name in names:
        _sweep(place / name)


def _sweep(path: Path) -> None:
    """Remove a directory of ours, closed to others, where whoever has worked in it is gone.

    One without the file that tells belongs to a launch that has just begun. As long as it is being removed, a launch
    that begins in it waits, and then makes it anew.
    """
    from pytest_evalrun.rundir.lines import open_plain
    from pytest_evalrun.rundir.locks import FileLock

    alive = path / _ALIVE
    try:
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) != 0o700:
            return
        with FileLock(alive, lambda: open_plain(alive, os.O_RDWR | os.O_NOFOLLOW)) as lock:
            if lock.take():
                shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return


class Notice:
    """Tells whoever looks from outside that a launch has begun: its run is made when the first item is dispatched."""

    NAME = "announced"

    def __init__(self, config: pytest.Config, launch: LaunchDir) -> None:
        self._config = config
        self._launch = launch

    def begun(self, options: Options) -> None:
        """Note the launch with the first suite that a process of it finds; not where there will be no run."""
        option = self._config.option
        if option.collectonly or self._config.getoption("setupplan", False) or options.mode == "viz":
            return
        self._launch.once(self.NAME, lambda: self._announced(options))

    def _announced(self, options: Options) -> str:
        from pytest_evalrun.rundir.launches import LaunchNote, announce

        pid = getattr(self._config, "workerinput", {}).get(LAUNCHER, os.getpid())
        launch = LaunchNote.of(pid, options.workdir, self._config.rootpath, options.run)
        announce(launch)
        return launch.dumps()

    def _read(self) -> LaunchNote | None:
        from pytest_evalrun.rundir.launches import LaunchNote

        text = self._launch.read(self.NAME)
        return LaunchNote.loads(text) if text is not None else None

    def opened(self, run: Path) -> None:
        """Nobody needs to wait for the run any more."""
        from pytest_evalrun.rundir.launches import announce

        if (launch := self._read()) is not None:
            announce(replace(launch, run=str(run)))

    def over(self) -> None:
        """Take the note away; also where a worker has found a suite that the launching process never heard of."""
        if not self._launch.path.is_dir():
            return  # no suite was found, and nothing is imported
        from pytest_evalrun.rundir.launches import withdraw

        if (launch := self._read()) is not None:
            withdraw(launch)
