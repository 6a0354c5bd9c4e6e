"""The boards of a launch: looked at before anything starts, tidied up when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.boards.atonce import at_once
from pytest_evalrun.remote.boards.survey import PATIENCE
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.faults import Refused
from pytest_evalrun.remote.hosts import host_of, identity, route
from pytest_evalrun.remote.manifest import work_names
from pytest_evalrun.remote.models import DROP_MODEL, ModelCache
from pytest_evalrun.remote.places import CACHE, below, left_behind, pair_directory, remove
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory
from pytest_evalrun.suite.devices import DROP_CACHE, KEEP_MODELS, devices_of, home_of, keeps_work
from pytest_evalrun.suite.printable import counted, first_of
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_evalrun.remote.boardnotes import BoardNotes, Used
    from pytest_evalrun.suite.devices import DeviceSpec
    from pytest_evalrun.suite.pairs import Pair

# Of the dead there may be gigabytes; a board that dies meanwhile is noticed long before.
REMOVING = 60.0
# A worker has just ended: its board may need a moment to notice that nobody uses the model any more.
_LINGERING = 2.0
_PAUSE = 0.2
_MOST_SHOWN = 5
# A connection that stands, the user's mistake, or why the board cannot be used.
_Seen = Connection | ConfigError | str


@dataclass
class _Place:
    """A REMOTE_TASK_HOME on a board, with the work directories that pairs of this launch have there.

    Those in ``kept`` were left on purpose.
    """

    spec: DeviceSpec
    home: str
    work: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)

    def owns(self, name: str) -> bool:
        """Say whether a directory that nobody uses may go: the longest name of a pair that it may come from decides."""
        found = pair_directory(name, self.work | self.kept)
        return found is not None and found not in self.kept


class BoardManager:
    """``boards`` by their keys are all that anything asks for; ``pairs`` are those that run on boards, by node id.

    ``say`` tells a person, line by line.
    """

    def __init__(
        self,
        boards: Mapping[str, DeviceSpec],
        pairs: Mapping[str, Pair],
        notes: BoardNotes,
        say: Callable[[str], None],
    ) -> None:
        self._notes = notes
        self._say = say
        self._places = _places(pairs.values())
        known = {place.spec.key for place in self._places}
        self._places += [_Place(spec, spec.home) for key, spec in boards.items() if key not in known]
        self._left: dict[str, set[str]] = {}
        for nodeid, pair in pairs.items():
            self._left.setdefault(f"{pair.suite}/{pair.task.name}", set()).add(nodeid)
        self._tasks = {nodeid: task for task, ids in self._left.items() for nodeid in ids}

    def look(self) -> dict[str, tuple[str, str]]:
        """Connect to every board that a pair may use: who is no longer there is set aside, for every worker.

        What was set aside comes back, by its key, with the board's name and the reason. Raises ConfigError for all
        host keys that are not known, and for what cannot be understood.
        """
        silent: _Seen = f"it did not answer within {PATIENCE.connect:g} s"
        boards = at_once(_look, self._places, within=PATIENCE.connect, late=silent, drop=_give_up)
        looked = list(zip(self._places, boards, strict=True))
        for note in dict.fromkeys(note for one in boards if isinstance(one, Connection) for note in one.notes):
            self._say(note)
        try:
            mistakes = dict.fromkeys(str(one) for one in boards if isinstance(one, ConfigError))
            if mistakes:
                raise ConfigError("\n".join(mistakes))
            gone = self._set_aside([(place, one) for place, one in looked if isinstance(one, str)])
            self._remove_leftovers([(place, one) for place, one in looked if isinstance(one, Connection)])
        finally:
            for one in boards:
                _give_up(one)
        return gone

    def ended(self, nodeid: str) -> None:
        """An item has its outcome; of the last one of a task the workers hear that they may drop its model."""
        task = self._tasks.pop(nodeid, None)
        if task is None:
            return
        self._left[task].discard(nodeid)
        if not self._left[task]:
            self._notes.finish(task)

    def tidy(self) -> list[str]:
        """Drop models by their policies after the last worker has ended; a line each says what could not be done."""
        try:
            due = [used for used in self._notes.used() if set(used.models.values()) - {KEEP_MODELS}]
            slow = f"not done within {PATIENCE.connect:g} s"
            troubles = at_once(_drop_models, due, within=PATIENCE.connect, late=slow)
        except KeyboardInterrupt:
            return ["interrupted: models may be left on boards"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return [f"what was used of boards cannot be read, models may be left there: {error}"]
        told = zip(due, troubles, strict=True)
        return [f"board {used.spec.name}: models may be left there: {trouble}" for used, trouble in told if trouble]

    def _set_aside(self, troubles: Sequence[tuple[_Place, str]]) -> dict[str, tuple[str, str]]:
        """A board, unless it can be used below another home; then only items that want this one are in trouble."""
        reasons: dict[str, tuple[str, str]] = {}
        bad = {id(place) for place, _ in troubles}
        well = {_identity(place.spec) for place in self._places if id(place) not in bad}
        for place, reason in troubles:
            name = place.spec.name
            if _identity(place.spec) in well:
                self._say(f"board {name}: {reason}")
                continue
            if place.spec.key not in reasons:
                device = Device(name, _identity(place.spec), place.spec.labels, place.spec.slots)
                DevicePool(LeaseDirectory(), [device], notes=self._notes.aside).set_aside(device, reason)
                self._say(f"board {name} set aside: {reason}")
            reasons.setdefault(place.spec.key, (name, reason))
        return reasons

    def _remove_leftovers(self, boards: Sequence[tuple[_Place, Connection]]) -> None:
        slow = f"what a dead session left could not be removed within {REMOVING:g} s"
        said = at_once(_remove_leftovers, boards, within=REMOVING, late=slow)
        for (place, _), told in zip(boards, said, strict=True):
            if told:
                self._say(f"board {place.spec.name}: {told}")


# ------------------------------------------------------------------ on one board


def _look(place: _Place) -> _Seen:
    address = ""
    board = None
    try:
        host = host_of(place.spec)
        address = f"board {route(host)[-1]}: "
        board = Connection(host, home=place.home, limits=PATIENCE)
        board.connect()
        board.facts  # noqa: B018 - whether its home can be entered
        return board
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a board, the launch goes on with the others
        _give_up(board)
        if isinstance(error, ConfigError) and not isinstance(error, Refused):
            return ConfigError("\n".join([str(error), *(board.notes if board is not None else ())]))
        return " ".join(str(error).removeprefix(address).split()) or type(error).__name__


def _give_up(board: Any) -> None:
    if isinstance(board, Connection):
        board.close()


def _remove_leftovers(found: tuple[_Place, Connection]) -> str:
    """Remove what dead sessions left, and say so; empty where there was nothing."""
    place, board = found
    gone: list[str] = []
    try:
        for name in filter(place.owns, left_behind(board)):
            remove(board, name)
            gone.append(name)
    except Exception as error:  # noqa: BLE001 - what stays there is in nobody's way
        return f"what a dead session left could not be removed: {error}"
    what = counted(len(gone), "work directory", "work directories")
    return f"removed {what} of a session that died: {first_of(gone, _MOST_SHOWN)}" if gone else ""


def _drop_models(used: Used) -> str:
    """Drop models by their policies, and say what went wrong; one that another session uses stays, rightly."""
    try:
        with Connection(host_of(used.spec), home=used.home, limits=PATIENCE) as board:
            board.connect()
            cache = ModelCache(board)
            if DROP_CACHE in used.models.values():
                wait_until(cache.clear, _LINGERING, _PAUSE)
                return ""
            for name in [name for name, policy in used.models.items() if policy != KEEP_MODELS]:
                wait_until(partial(_released, cache, board, name), _LINGERING, _PAUSE)
    except Exception as error:  # noqa: BLE001 - nothing of a board costs a session its end
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def _released(cache: ModelCache, board: Connection, name: str) -> bool:
    """Say whether the model is gone; for a moment a worker that has just ended may seem to have it still."""
    if cache.release(name, DROP_MODEL, last=True):
        return True
    return board.run('[ -e "$1" ]', below(board, f"{CACHE}/{name}")).code != 0


# ------------------------------------------------------------------ who needs what where


def _places(pairs: Iterable[Pair]) -> list[_Place]:
    """Every board as each suite writes it down: of two ways in, one may be wrong."""
    found: dict[tuple[str, str], _Place] = {}
    for pair in pairs:
        kept = keeps_work(pair.settings)
        names = list(work_names(pair))
        for spec in devices_of(pair.settings):
            home = home_of(spec, pair.settings)
            place = found.setdefault((repr(spec), home), _Place(spec, home))
            (place.kept if kept else place.work).update(names)
    return list(found.values())


def _identity(spec: DeviceSpec) -> str:
    return identity(host_of(spec))
