"""Predictions that were put aside: ``.old`` when asked for, ``.stale`` where they are of something else by now.

Their fingerprint also says what they were by content, and has their marker: where the same is wanted again (the data
came back, a parameter was set back) they are found again, and only if they are what they were.
"""

from __future__ import annotations

import glob
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.layout import PairPaths
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.markers import (
    DAMAGED,
    Marker,
    StoredFingerprint,
    facts_of,
    read_fingerprint,
    read_marker,
    write_fingerprint,
)
from pytest_evalrun.rundir.runs import run_names
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import WorkDir
    from pytest_evalrun.suite.pairs import PairKey

OLD = ".old"
STALE = ".stale"
# What lies aside changes places with what is there: in between, that is called so.
_AWAY = ".away"
SUFFIXES = (OLD, STALE, _AWAY, DAMAGED)


@dataclass(frozen=True)
class Aside:
    """Predictions that were put aside: ``files`` names them relative to the run, with their size and hash."""

    stored: StoredFingerprint
    files: dict[str, dict[str, Any]]
    marker: Marker | None

    def to_json(self) -> dict[str, Any]:
        marker = self.marker and self.marker.to_json()
        return {"format": 1, **asdict(self.stored), "files": self.files, "marker": marker}

    @classmethod
    def from_json(cls, content: Any) -> Aside:
        """Parse what ``to_json`` gave; raises as that of its fingerprint does."""
        stored = StoredFingerprint.from_json(content)
        files = {str(name): {"sha256": str(facts["sha256"])} | facts for name, facts in content["files"].items()}
        return cls(stored, files, content["marker"] and Marker.from_json(content["marker"]))

    def holds(self, paths: PairPaths, suffix: str = STALE) -> bool:
        """Tell whether all of it is there and unchanged; put aside only half, or half way back, it still is."""
        return bool(self.files) and all(
            _is_same(aside, self.files[name]) or _is_same(now, self.files[name])
            for name, now, aside in _places(paths.whole, self, suffix)
        )


def was_evaluated(workdir: WorkDir, key: PairKey) -> bool:
    """Tell whether any run has begun with a pair, or with its first samples, whatever became of it."""
    name = glob.escape(key.full.dataset)
    places = [workdir.run(run).predictions / key.suite / key.task for run in run_names(workdir)]
    patterns = (f"{name}.fingerprint.json*", f"{name}.limit-*.fingerprint.json*")
    return any(any(place.glob(pattern)) for place in places for pattern in patterns)


def was_put_aside(paths: PairPaths) -> bool:
    """Tell whether anything was predicted of the pair in this run that is wanted no more."""
    return any(_aside(paths.whole.fingerprint, suffix).exists() for suffix in SUFFIXES)


def read_aside(paths: PairPaths, suffix: str = STALE) -> Aside | None:
    """Read what is known of the predictions of a pair that were put aside last; None where that is nothing."""
    try:
        return Aside.from_json(parse_json(read_file(_aside(paths.whole.fingerprint, suffix))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def set_aside(paths: PairPaths, suffix: str, *, with_result: bool = False) -> None:
    """Rename what was predicted, so that nothing of it is taken for new.

    ``.stale``, or ``.old`` when asked for. What it is is written down first, and the fingerprint goes last: killed in
    between, the next session sees the same difference.
    """
    paths = paths.whole
    there = _describe(paths, suffix)
    if suffix == STALE and _is_worth_less(paths, there):
        suffix = _AWAY
    _move(paths, suffix, there, with_result=with_result)
    if there is not None:
        paths.fingerprint.unlink(missing_ok=True)
    else:
        _replace(paths.fingerprint, _aside(paths.fingerprint, suffix))


def _is_worth_less(paths: PairPaths, there: Aside | None) -> bool:
    """Tell whether what lies aside is complete and this is not: a dataset may change twice while it is copied."""
    kept = read_aside(paths)
    if kept is None or kept.marker is None or (there is not None and there.marker is not None):
        return False
    return (there is None or kept.stored != there.stored) and kept.holds(paths)


def _move(paths: PairPaths, suffix: str, there: Aside | None, *, with_result: bool = False) -> None:
    if there is not None:
        write_atomic(_aside(paths.fingerprint, suffix), json.dumps(there.to_json(), ensure_ascii=False))
    paths.marker.unlink(missing_ok=True)
    for path in (*_moved(paths), *([paths.result, *_verdicts(paths)] if with_result else [])):
        _replace(path, _aside(path, suffix))


def earlier_predictions(paths: PairPaths) -> list[Path]:
    """The files of what was predicted of a pair before and is not its own now: put aside, or of another limit.

    Those of its last predictions come first. Where new ones were asked for since, what is older is none of them.
    """
    paths = paths.whole
    asked_for = _written_at(_aside(paths.fingerprint, OLD))
    found: list[Path] = []
    for pair in (paths, *_of_other_limits(paths)):
        for suffix in (STALE, _AWAY) if pair is paths else ("", STALE, _AWAY):
            shards = _aside(pair.shard_predictions, suffix).glob("*.jsonl")
            found += [_aside(pair.predictions, suffix), *sorted(shards)]
    return [file for file in found if _written_at(file) > asked_for]


def _of_other_limits(paths: PairPaths) -> list[PairPaths]:
    full = paths.key.full
    names = {file.stem for file in paths.predictions.parent.glob(f"{glob.escape(full.dataset)}.limit-*.jsonl*")}
    keys = (full, *(full._replace(dataset=name.removesuffix(".jsonl")) for name in sorted(names)))
    return [PairPaths(paths.run, key) for key in dict.fromkeys(keys) if key != paths.key and (key.limit or key == full)]


def _written_at(path: Path) -> int:
    """In nanoseconds; 0 where there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def bring_back(disk: Disk, paths: PairPaths) -> None:
    """Let stale predictions, which must hold, change places with those that are there.

    Killed at any moment: the fingerprint says which of the two are wanted, and the stale ones are known by their
    content, wherever they are by then.
    """
    paths = paths.whole
    aside = read_aside(paths)
    assert aside is not None, "the plan saw that it holds"
    if read_fingerprint(paths.fingerprint) != aside.stored:
        _move(paths, _AWAY, _describe(paths, _AWAY))
        stored = aside.stored
        write_fingerprint(disk, paths.fingerprint, stored.parts, stored.launch, timing=stored.timing)
    for name, now, stale in _places(paths, aside, STALE):
        if _is_same(stale, aside.files[name]):
            now.parent.mkdir(parents=True, exist_ok=True)
            _replace(stale, now)
    for path in (paths.scores, paths.outputs, paths.programs, paths.agent_directory):
        _replace(_aside(path, STALE), path)
    if aside.marker is not None:
        disk.write(paths.marker, aside.marker.dumps(), vouches=True)
    _aside(paths.fingerprint, STALE).unlink(missing_ok=True)
    for path in (*_moved(paths), paths.fingerprint):
        _replace(_aside(path, _AWAY), _aside(path, STALE))


def _moved(paths: PairPaths) -> tuple[Path, ...]:
    return (
        paths.predictions,
        paths.shard_predictions,
        paths.scores,
        paths.outputs,
        paths.programs,
        paths.agent_directory,
    )


def _verdicts(paths: PairPaths) -> tuple[Path, ...]:
    """What judges said is known by what they were asked, and stays; only who wants all of it anew has it put aside."""
    known = paths.judged(None).known_verdicts
    return known, paths.judged_verdicts, paths.judged_fingerprint, paths.judged_directory


def _describe(paths: PairPaths, suffix: str) -> Aside | None:
    """Describe what goes aside; None where nobody knows what it was made from.

    Where half of it went already, this is what was written down then.
    """
    stored, marker = read_fingerprint(paths.fingerprint), read_marker(paths.marker)
    if stored is None:
        return None
    own = _name(paths, paths.predictions)
    if marker is not None and own in marker.files and marker.fingerprint["prediction"] == stored.parts:
        return Aside(stored, {own: marker.files[own]}, marker)
    before = read_aside(paths, suffix)
    if before is not None and before.stored == stored and before.holds(paths, suffix):
        return before
    files = {}
    for path in (paths.predictions, *sorted(paths.shard_predictions.glob("*.json*"))):
        with suppress(OSError):
            files[_name(paths, path)] = facts_of(path)
    return Aside(stored, files, None)


def _places(paths: PairPaths, aside: Aside, suffix: str) -> Iterator[tuple[str, Path, Path]]:
    """The name of each file, where it belongs, and where it lies aside."""
    for name in aside.files:
        if name == _name(paths, paths.predictions):
            yield name, paths.predictions, _aside(paths.predictions, suffix)
        else:
            file = name.rpartition("/")[2]
            yield name, paths.shard_predictions / file, _aside(paths.shard_predictions, suffix) / file


def _is_same(path: Path, facts: dict[str, Any]) -> bool:
    try:
        return path.stat().st_size == facts["size"] and bool(facts_of(path)["sha256"] == facts["sha256"])
    except (OSError, KeyError):
        return False


def _name(paths: PairPaths, path: Path) -> str:
    return path.relative_to(paths.run).as_posix()


def _aside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _replace(path: Path, target: Path) -> None:
    """Rename a file or a directory; where there is none, nothing.

    What lies aside from before makes room only for something: killed half way, this is done twice.
    """
    if path.is_dir() and target.is_dir() and not target.is_symlink():
        import shutil

        shutil.rmtree(target)
    try:
        path.replace(target)
    except FileNotFoundError:
        pass
