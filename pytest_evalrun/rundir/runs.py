"""The run directory that a launch works in, and what ``run.json`` says of it."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import json_document, read_file, utc_time
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.processes import sweep_asides
from pytest_evalrun.suite.devices import DeviceSpec
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.template import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths, WorkDir


RUN_FORMAT = 1
# What models write: theirs, and there may be millions of files.
OUTPUTS = "outputs"
# Where the jobs of a cluster are at work, processes of other hosts.
ENGINE = "engine"
# Launches of other hosts may write in a work directory, whose processes are not seen from here.
ELSEWHERE_SECONDS = 60.0
SHOWN = 5
SECOND_DIGITS = len("20261121103015")
_NO_DIGIT = re.compile(r"\D")
# Words of AgentBench's by which a suite may name its runs.
STAMPS = {"TIMESTAMP": "%Y-%m-%d-%H-%M-%S", "TIMESTAMP_DATE": "%Y-%m-%d", "TIMESTAMP_TIME": "%H-%M-%S"}


def resolve_run(workdir: WorkDir, wanted: str) -> RunPaths | None:
    """Find the run that ``latest``, ``new`` or a name stands for; None where one must be made.

    Raises ConfigError for a name that is no run here, and for a link that leads elsewhere.
    """
    if wanted == "new":
        return None
    if wanted == "latest":
        return _latest(workdir)
    if not is_run_name(wanted) or not os.path.isdir(workdir.run(wanted).root):  # noqa: PTH112
        raise ConfigError(f"--eval-run {wanted}: no such run in {workdir.root}; {_choices(workdir)}")
    return workdir.run(wanted)


def _latest(workdir: WorkDir) -> RunPaths | None:
    link = workdir.latest
    if not link.is_symlink():
        _refuse_no_link(link)
        return None
    target = link.readlink()
    run = workdir.run(target.name)
    if not is_run_name(target.name) or not run.root.is_dir():
        raise ConfigError(f"{link} points to {target}, which is not there; remove the link, or {_choices(workdir)}")
    if not link.samefile(run.root):
        raise ConfigError(f"{link} points to {target}, outside of {workdir.root}; remove the link")
    return run


def _refuse_no_link(link: Path) -> None:
    if os.path.lexists(link) and not link.is_symlink():
        raise ConfigError(f"{link} is in the way of the link to the latest run; move it elsewhere")


def is_run_name(name: str) -> bool:
    """Accept one part of a path that is no option, no hidden file and not the link itself."""
    return bool(name) and name[0] not in ".-" and name != "latest" and not {"/", "\0", "\n"} & set(name)


def _choices(workdir: WorkDir) -> str:
    names = run_names(workdir)[:SHOWN]
    return f"choose --eval-run new, or one of the newest: {', '.join(names)}" if names else "choose --eval-run new"


def run_names(workdir: WorkDir) -> list[str]:
    """The runs of a work directory, newest first: by the time that they are called after, else as they say it."""
    try:
        names = [path.name for path in workdir.root.iterdir()]
    except OSError:
        return []
    runs = [name for name in names if is_run_name(name) and workdir.run(name).run_json.exists()]
    return sorted(runs, key=lambda name: (_begun(workdir.run(name)), name), reverse=True)


def _begun(paths: RunPaths) -> str:
    """The second in which a run was made, as digits."""
    digits = _NO_DIGIT.sub("", paths.root.name)
    if len(digits) < SECOND_DIGITS:  # a suite called it otherwise
        with suppress(ConfigError):
            digits = _NO_DIGIT.sub("", str(read_run_json(paths).get("created", "")))
    return digits[:SECOND_DIGITS]


def create_run(workdir: WorkDir, now: datetime, name: str | None = None) -> RunPaths:
    """Make a run directory called after the local time, and the work directory where there is none.

    ``name`` is what a suite wants it to be called, with ``{TIMESTAMP}`` and the like in it.
    """
    try:
        _make_workdir(workdir)
        local = now.astimezone()
        paths = _make_run(workdir, local.strftime("%Y%m%d_%H%M%S") if name is None else stamped(name, local))
        _write_run_json(paths, {"format": RUN_FORMAT, "created": now.astimezone().isoformat(timespec="seconds")})
    except OSError as error:
        raise _unusable(workdir, error) from error
    return paths


def begin_run(paths: RunPaths) -> None:
    """Make a directory a run, for a session that somebody else starts in it."""
    if not paths.run_json.exists():
        _write_run_json(paths, {"format": RUN_FORMAT, "created": utc_time(timespec="seconds")})


def stamped(name: str, now: datetime) -> str:
    """The name of a run with a time filled in."""
    return fill(name, {word: now.strftime(form) for word, form in STAMPS.items()})


@contextmanager
def naming(workdir: WorkDir, wanted: str) -> Iterator[None]:
    """Let one launch at a time look for the latest run, make it and name it, where there is none yet."""
    if wanted != "latest" or os.path.lexists(workdir.latest):
        yield
        return
    try:
        workdir.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(workdir.root, lambda: os.open(workdir.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise _unusable(workdir, error) from error
    with lock:
        with suppress(OSError):  # NFS locks no directories; two at once then make two runs
            lock.take(wait=None)
        yield


def sweep_run(workdir: WorkDir, paths: RunPaths, *, deep: bool) -> None:
    """Remove files that never came to be, of processes that were killed; ``deep``: below the run too.

    What models write is theirs, and stays. Call it while nobody else works in the run.
    """
    sweep_asides(workdir.root, older=ELSEWHERE_SECONDS)
    for directory, names, _ in os.walk(paths.root):
        sweep_asides(directory)
        names[:] = [name for name in names if deep and name not in (OUTPUTS, ENGINE)]


def _unusable(workdir: WorkDir, error: OSError) -> ConfigError:
    return ConfigError(
        f"{workdir.root}: no run directory can be made there ({error.strerror}); choose another with --eval-workdir"
    )


def _make_workdir(workdir: WorkDir) -> None:
    workdir.root.mkdir(parents=True, exist_ok=True)
    # A directory with files of others in it may be a project: its .gitignore is not ours to write.
    if not any(workdir.root.iterdir()):
        write_atomic(workdir.gitignore, "*\n")


def _make_run(workdir: WorkDir, stamp: str) -> RunPaths:
    for number in count(1):
        paths = workdir.run(stamp if number == 1 else f"{stamp}_{number}")
        try:
            paths.root.mkdir()
        except FileExistsError:
            continue
        return paths
    raise AssertionError("unreachable")


def point_latest(workdir: WorkDir, paths: RunPaths) -> None:
    """Let ``latest`` point to a run; whoever looks meets the old run or the new one."""
    latest = workdir.latest
    _refuse_no_link(latest)
    if latest.is_symlink() and str(latest.readlink()) == paths.root.name:
        return
    aside = workdir.root / f".latest.{os.getpid()}.tmp"
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(paths.root.name, target_is_directory=True)
        aside.rename(latest)
    except OSError as error:
        raise ConfigError(f"{latest}: cannot be pointed to {paths.root.name}: {error.strerror}") from error


def read_run_json(paths: RunPaths) -> dict[str, Any]:
    """Read ``run.json``; raises ConfigError where it is missing or not what we wrote."""
    try:
        content = parse_json(read_file(paths.run_json))
    except FileNotFoundError:
        raise ConfigError(f"{paths.root} is not a run directory: it has no run.json") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{paths.run_json}: {reason}; {_REMEDY}") from error
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is not int or version < 1:
        raise ConfigError(f"{paths.run_json}: format: found {version!r}, expected 1 to {RUN_FORMAT}; {_REMEDY}")
    for name, (kind, of) in _PARTS.items():
        part = content.get(name, kind())
        members = part.values() if isinstance(part, dict) else part
        if not isinstance(part, kind) or not all(isinstance(member, of) for member in members):
            wanted = f"a {kind.__name__} of {of.__name__}"
            raise ConfigError(f"{paths.run_json}: {name}: found {part!r:.80}, expected {wanted}; {_REMEDY}")
    return dict(content)


# What the parts of it are, and what these hold.
_PARTS: dict[str, tuple[type, type]] = {"suites": (dict, str), "directories": (list, str), "boards": (list, dict)}
_REMEDY = "put it back, or start another run with --eval-run new"


def check_format(paths: RunPaths) -> None:
    """Refuse a run that a newer version wrote; nothing in it is touched."""
    version = read_run_json(paths)["format"]
    if version > RUN_FORMAT:
        raise ConfigError(
            f"{paths.root}: written by a newer version (format {version}); this one knows up to {RUN_FORMAT}; "
            "nothing was changed"
        )


def add_manifest(
    paths: RunPaths,
    suites: Mapping[str, str],
    directories: Iterable[str],
    boards: Iterable[BoardRecord] = (),
    skipped: Mapping[str, str] | None = None,
) -> None:
    """Remember the suites of a run (name → evalrun.yaml), and the directories outside and the boards it writes to.

    ``skipped`` is noted as :func:`note_outcomes` does it: a file that is synced is best written once.
    """
    old = read_run_json(paths)
    new = dict(old)
    new["suites"] = {**old.get("suites", {}), **{name: str(file) for name, file in suites.items()}}
    new["directories"] = sorted({*old.get("directories", []), *directories})
    if boards := list(boards):
        new["boards"] = [record.to_json() for record in merged(boards_in(paths, old), boards)]
    if skipped is not None:
        new = _with_noted(new, "skipped", skipped)
    if new != old:
        _write_run_json(paths, new)


def note_outcomes(paths: RunPaths, skipped: Mapping[str, str], errors: Mapping[str, str]) -> None:
    """Remember which pairs this run passes over, and why, whatever older result lies there; and which ended in an error
    last, and in which, so that nobody takes the older result that stays for theirs. Both by full ids."""
    old = read_run_json(paths)
    new = _with_noted(_with_noted(old, "skipped", skipped), "errors", errors)
    if new != old:
        _write_run_json(paths, new)


def note_skipped(paths: RunPaths, skipped: Mapping[str, str]) -> None:
    """The same of those that are passed over alone."""
    note_outcomes(paths, skipped, errors_in(paths))


def _with_noted(content: dict[str, Any], name: str, noted: Mapping[str, str]) -> dict[str, Any]:
    rest = {key: value for key, value in content.items() if key != name}
    return rest | {name: dict(sorted(noted.items()))} if noted else rest


def skipped_in(paths: RunPaths) -> dict[str, str]:
    """Read who is skipped; nothing where ``run.json`` is damaged, of which others complain."""
    return _noted_in(paths, "skipped")


def errors_in(paths: RunPaths) -> dict[str, str]:
    """Read who ended in an error last, though an older result may lie there; nothing where ``run.json`` is damaged."""
    return _noted_in(paths, "errors")


def _noted_in(paths: RunPaths, name: str) -> dict[str, str]:
    try:
        noted = read_run_json(paths).get(name)
    except ConfigError:
        return {}
    return {pair: str(why) for pair, why in noted.items()} if isinstance(noted, dict) else {}


def boards_in(paths: RunPaths, content: Mapping[str, Any]) -> list[BoardRecord]:
    """Parse the boards that ``run.json`` names; raises ConfigError for what we did not write."""
    try:
        return read_records(content.get("boards", []))
    except ValueError as error:
        raise ConfigError(f"{paths.run_json}: {error}; {_REMEDY}") from error


def _write_run_json(paths: RunPaths, content: Mapping[str, Any]) -> None:
    file = paths.run_json
    write_atomic(file, json_document(content))
    sync(file)


def sync(path: Path) -> None:
    """Carry a file and its name to the disk at once: for the few files without which a run cannot be trusted."""
    for place in (path, path.parent):
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@dataclass(frozen=True)
class BoardRecord:
    """A board with its REMOTE_TASK_HOME; ``work`` names work directories below it, ``models`` files of its cache.

    Whatever was put on a board has one of these names; that a name stands here does not mean that it was.
    """

    spec: DeviceSpec
    home: str
    work: tuple[str, ...]
    models: tuple[str, ...]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> BoardRecord:
        """Parse what ``to_json`` gave; raises KeyError, TypeError or AttributeError where it is something else."""
        work, models = entry["work"], entry["models"]
        if not all(isinstance(name, str) for name in (*work, *models, entry["home"], entry["spec"]["name"])):
            raise TypeError("names are text")
        return cls(DeviceSpec.of(entry["spec"]), entry["home"], tuple(work), tuple(models))

    def to_json(self) -> dict[str, Any]:
        return {"spec": asdict(self.spec), "home": self.home, "work": list(self.work), "models": list(self.models)}

    @property
    def place(self) -> tuple[str, str]:
        """The same for all records that are about the same directory."""
        return self.spec.key, self.home


def read_records(entries: Sequence[dict[str, Any]]) -> list[BoardRecord]:
    """Parse all entries; raises ValueError for what we did not write."""
    try:
        return [BoardRecord.of(entry) for entry in entries]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"boards: {error}") from error


def merged(old: Iterable[BoardRecord], new: Iterable[BoardRecord]) -> list[BoardRecord]:
    """Join the names of both, each once; how to get to a board is believed to the newer one."""
    found: dict[tuple[str, str], BoardRecord] = {}
    for record in (*old, *new):
        before = found.get(record.place, record)
        work, models = {*before.work, *record.work}, {*before.models, *record.models}
        found[record.place] = BoardRecord(record.spec, record.home, tuple(sorted(work)), tuple(sorted(models)))
    return list(found.values())
