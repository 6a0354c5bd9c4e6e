"""What a job has made of a pair comes into the run: its files first, then the marker that vouches for them.

The launching process alone does this, while it holds the run. Killed at any moment, it does all of it again, and comes
to the same. What the job replaces as a whole gets another name; what it appends to, or a model writes, is copied: an
attempt that was given up may go on writing, and must change nothing here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.aside import OLD, STALE, set_aside
from pytest_evalrun.rundir.bringing import NotYet, bring, bring_lines, bring_log, bring_rest, bring_tree
from pytest_evalrun.rundir.durable import Disk, write_atomic
from pytest_evalrun.rundir.layout import WorkDir, paths_of
from pytest_evalrun.rundir.lines import open_file, read_file
from pytest_evalrun.rundir.markers import read_fingerprint, read_marker, write_fingerprint
from pytest_evalrun.rundir.rangesbrought import bring_ranges
from pytest_evalrun.rundir.results import append_history, history_entry, read_result
from pytest_evalrun.rundir.sessions import read_session
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_evalrun.rundir.enginepaths import AttemptPaths
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.markers import Marker, StoredFingerprint
    from pytest_evalrun.suite.pairs import Pair

__all__ = ["NotYet", "publish_pair", "publish_partial", "tidy"]

# Of an attempt that is over these stay, for whoever wants to know what became of it.
KEPT = frozenset({"job.json", "job.sh", "job.log", "reports.jsonl", "run.json", "logs", "allure"})
# Results that are no results: trouble, which hides nothing that was measured before.
NO_RESULT = frozenset({"error", "skipped"})


def publish_pair(
    attempt: AttemptPaths,
    run: RunPaths,
    pair: Pair,
    *,
    fresh: bool = False,
    marked: bool = False,
    disk: Disk | None = None,
) -> None:
    """Take what an item of an attempt has left of its pair, or of a shard, into the run.

    ``fresh``: what lay there before this launch becomes ``.old``. ``marked``: the item said that the pair is complete,
    so that there must be a marker. Without a ``disk`` that syncs all this within a second, it is synced here.

    Raises NotYet where a file is not what the marker says, or not there: on a shared file system it comes later.
    """
    if attempt.tidied.exists():
        return
    with _synced(disk) as own:
        _Publication(attempt, run, pair, own, fresh=fresh).publish(marked=marked)


def publish_partial(
    attempt: AttemptPaths, run: RunPaths, pair: Pair, *, fresh: bool = False, disk: Disk | None = None
) -> None:
    """Take what an attempt has left of a pair which it did not end: predictions, of which none is lost, and logs."""
    if attempt.tidied.exists():
        return
    with _synced(disk) as own:
        _Publication(attempt, run, pair, own, fresh=fresh).cut_off()


def tidy(attempt: AttemptPaths) -> None:
    """Remove what was published of an attempt that is over; what was said of pairs that came to no result stays."""
    attempt.tidied.touch()
    for note in attempt.notes.rglob("*.json"):
        if _Note.read(note).remembered:
            place = note.relative_to(attempt.notes)
            for kind in ("infer", "eval"):
                (attempt.root / "logs" / kind / place).with_suffix(".log").unlink(missing_ok=True)
    for path in attempt.root.iterdir():
        if path.name in KEPT or path == attempt.tidied:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _synced(disk: Disk | None) -> Iterator[Disk]:
    own = disk or Disk()
    try:
        yield own
    finally:
        if disk is None:
            own.close()


@dataclass
class _Note:
    """How far a pair was published from an attempt.

    ``logs`` are the sizes that its logs in the run had before, ``room`` whether what was old went aside, ``history``
    the size of that file before the line of this pair was written, ``remembered`` which marker that line is about.
    """

    logs: dict[str, int] = field(default_factory=dict)
    room: bool = False
    history: int | None = None
    remembered: str = ""

    @classmethod
    def read(cls, path: Path) -> _Note:
        try:
            return cls(**parse_json(read_file(path)))
        except (OSError, ValueError, TypeError):
            return cls()


class _Publication:
    """One pair of one attempt on its way into the run."""

    def __init__(self, attempt: AttemptPaths, run: RunPaths, pair: Pair, disk: Disk, *, fresh: bool) -> None:
        self._attempt = attempt
        self._run = run
        self._pair = pair
        self._disk = disk
        self._fresh = fresh
        self._theirs = paths_of(attempt.run, pair)
        self._ours = paths_of(run, pair)
        log = self._theirs.infer_log.relative_to(attempt.root / "logs" / "infer")
        self._place = attempt.notes / log.with_suffix(".json")
        self._note = _Note.read(self._place)
        session = read_session(run)
        self._launch = session.run_id if session is not None else ""

    def publish(self, *, marked: bool) -> None:
        marker = None if self._pair.is_shard else read_marker(self._theirs.marker)
        if marker is not None and marker.vouches_for(self._theirs):
            self._complete(marker)
        elif marked and not self._pair.is_shard:
            raise NotYet(self._theirs.marker)
        else:
            self._incomplete()
        self._sayings()

    def cut_off(self) -> None:
        """Without a word of what it had come to: whoever looks for the reason looks into its log."""
        self.partial()
        self._sayings()

    def _complete(self, marker: Marker) -> None:
        if read_marker(self._ours.marker) != marker or marker.holds(self._run.root) is not None:
            self._make_room(self._fingerprint(marker))
            self._ours.marker.unlink(missing_ok=True)
            self._bring_marked(marker)
            self._disk.write(self._ours.marker, marker.dumps(), vouches=True)
        elif self._fresh:
            self._make_room(self._fingerprint(marker))
        self._remember(marker)

    def _fingerprint(self, marker: Marker) -> StoredFingerprint:
        """The file has the timing too; where it is not here, or is of something else by now, it comes later."""
        stored = read_fingerprint(self._theirs.fingerprint)
        if stored is None or stored.parts != marker.fingerprint["prediction"]:
            raise NotYet(self._theirs.fingerprint)
        return stored

    def _bring_marked(self, marker: Marker) -> None:
        theirs, ours = self._theirs, self._ours
        facts = {theirs.run / name: facts for name, facts in marker.files.items()}
        bring_tree(self._disk, theirs.outputs, ours.outputs)
        bring_ranges(self._disk, theirs, ours)
        bring_tree(self._disk, theirs.agent_directory, ours.agent_directory)
        bring(self._disk, theirs.predictions, ours.predictions, facts[theirs.predictions], copy=True)
        if theirs.scores in facts:
            bring(self._disk, theirs.scores, ours.scores, facts[theirs.scores])
        bring(self._disk, theirs.result, ours.result, facts[theirs.result])
        with suppress(NotYet, OSError):  # it can be made again
            bring(self._disk, theirs.fragment, ours.fragment)

    def _incomplete(self) -> None:
        """Trouble, a shard, or inference alone: lines, and what is said of a pair that came to no result."""
        self.partial()
        result, old = read_result(self._theirs.result), read_result(self._ours.result)
        if result is not None and result.status in NO_RESULT and (old is None or old.status in NO_RESULT):
            bring(self._disk, self._theirs.result, self._ours.result)
        if not self._pair.is_shard and not self._ours.marker.exists():
            with suppress(NotYet):  # of a pair that came to no score there are none
                bring(self._disk, self._theirs.scores, self._ours.scores)

    def partial(self) -> None:
        stored = read_fingerprint(self._theirs.fingerprint)
        if stored is None or not _has_lines(self._theirs.predictions):
            return
        old, marker = read_fingerprint(self._ours.fingerprint), read_marker(self._ours.whole.marker)
        is_old = self._fresh and (old is None or old.launch != self._launch)
        if marker is not None and old is not None and old.parts == stored.parts and not is_old:
            return  # it is complete
        self._make_room(stored)
        bring_tree(self._disk, self._theirs.outputs, self._ours.outputs)
        bring_ranges(self._disk, self._theirs, self._ours)
        bring_tree(self._disk, self._theirs.agent_directory, self._ours.agent_directory, lines=True)
        generations = self._pair.settings.generations
        bring_lines(self._disk, self._theirs.predictions, self._ours.predictions, generations)
        if self._pair.is_shard:
            self._bring_shard()

    def _bring_shard(self) -> None:
        """States of shards are of one launch: the first one removes what others left, as in ``predict_shard``."""
        theirs, ours, lock = self._theirs, self._ours, self._ours.whole.lock
        lock.parent.mkdir(parents=True, exist_ok=True)
        if not lock.exists() or read_file(lock).decode(errors="replace") != self._launch:
            for state in ours.shard_states.glob("*.state"):
                state.unlink(missing_ok=True)
            lock.write_text(self._launch)
        timing = f"{theirs.predictions.stem}.timing.json"
        with suppress(NotYet):
            bring(self._disk, theirs.shard_predictions / timing, ours.shard_predictions / timing)

    def _make_room(self, new: StoredFingerprint) -> None:
        """What lies there of another fingerprint goes aside, as in ``Steps.make_room``; with ``fresh`` all of it."""
        ours = self._ours.whole
        old = read_fingerprint(ours.fingerprint)
        if self._fresh and not self._note.room:
            if old is None or old.launch != self._launch:
                set_aside(ours, OLD, with_result=True)
                old = None
            self._note.room = True
            self._keep_note()
        same = old is not None and old.parts == new.parts
        if not same and (old is not None or ours.predictions.exists() or ours.shard_predictions.is_dir()):
            set_aside(ours, STALE)
        if old is None or not same or (self._fresh and old.launch != self._launch):
            write_fingerprint(self._disk, ours.fingerprint, new.parts, self._launch, timing=new.timing)

    def _sayings(self) -> None:
        """Logs, state and costs, and what tests of the user's own recorded: however the item ended."""
        theirs, ours, disk = self._theirs, self._ours, self._disk
        if not self._note.logs:
            self._note.logs = self._log_sizes()
            self._keep_note()
        for name, their, our in (("infer", theirs.infer_log, ours.infer_log), ("eval", theirs.eval_log, ours.eval_log)):
            bring_log(disk, their, our, self._note.logs[name], self._pair.settings.log_limit)
        with suppress(NotYet):
            bring(disk, theirs.state, ours.state)
        if not self._pair.is_shard:
            bring_tree(disk, theirs.result.with_suffix(""), ours.result.with_suffix(""))
        for costs in self._attempt.run.costs.glob("*.jsonl"):
            unit = f"{self._attempt.root.parent.name}-{self._attempt.root.name}"
            bring_rest(disk, costs, self._run.costs / f"{unit}-{costs.name}")

    def _log_sizes(self) -> dict[str, int]:
        return {"infer": _size(self._ours.infer_log), "eval": _size(self._ours.eval_log)}

    def _remember(self, marker: Marker) -> None:
        """Add the line to the history once, whoever was killed before, while or after it was written."""
        digest = hashlib.sha256(marker.dumps().encode(errors="replace")).hexdigest()[:16]
        if self._note.remembered == digest:
            return
        result = read_result(self._ours.result)
        if result is None:
            raise NotYet(self._theirs.result)
        history = WorkDir(self._run.root.parent).history
        entry = history_entry(self._pair.full_id, result, marker.time)
        if self._note.history is None:
            self._note.history = _size(history)
            self._note.logs = self._note.logs or self._log_sizes()  # in the same write
            self._keep_note()
        if not _has_entry(history, self._note.history, entry):
            append_history(self._disk, history, entry)
        self._note.history, self._note.remembered = None, digest
        self._keep_note()

    def _keep_note(self) -> None:
        write_atomic(self._place, json.dumps(asdict(self._note)))


def _has_lines(predictions: Path) -> bool:
    return _size(predictions) > 0


def _size(path: Path) -> int:
    """0 where there is none. It is opened: only then a shared file system looks at the file anew."""
    try:
        with open_file(path) as file:
            return os.fstat(file.fileno()).st_size
    except OSError:
        return 0


def _has_entry(history: Path, start: int, entry: dict[str, Any]) -> bool:
    """Whether a line was written since then; others write to the file too."""
    wanted = parse_json(json.dumps(entry))
    try:
        with open_file(history) as file:
            file.seek(start)
            lines = file.read().splitlines()
    except OSError:
        return False
    for line in lines:
        with suppress(ValueError):
            if parse_json(line) == wanted:
                return True
    return False
