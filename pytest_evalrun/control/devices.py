"""The boards of some suites as they stand: which can be used or why not, who has them, what lies on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.control.clean import amount
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.boards.survey import Wanted, survey
from pytest_evalrun.remote.hosts import host_of, identity
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory
from pytest_evalrun.suite.devices import DeviceSpec, home_of
from pytest_evalrun.suite.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_evalrun.remote.boards.survey import BoardHealth
    from pytest_evalrun.slots.directory import Holder
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.settings import Settings

# The last one is as long as a reason may be: nothing stands behind it.
HEADER = ("name", "address", "home", "load", "disk free", "slots", "models", "left behind", "labels", "state")
_SPEAKING = ("devices", "env")


@dataclass(frozen=True)
class Board:
    """A board as a suite names it, with the REMOTE_TASK_HOME that holds for it."""

    spec: DeviceSpec
    home: str


@dataclass(frozen=True)
class BoardRow:
    """How a board stands, and who has leases of it."""

    board: Board
    standing: BoardHealth
    holders: tuple[Holder, ...]

    @property
    def reachable(self) -> bool:
        return not self.standing.trouble

    def cells(self) -> tuple[str, ...]:
        """Under ``HEADER``."""
        spec, found = self.board.spec, self.standing
        who = f": {' and '.join(map(str, self.holders))}" if self.holders else ""
        return (
            spec.name,
            found.address or spec.host,
            found.home or self.board.home,
            "" if found.load is None else f"{found.load:.2f}",
            "" if found.disk_free is None else f"{amount(found.disk_free)} of {amount(found.disk_size or 0)}",
            f"{len(self.holders)} of {spec.slots} taken{who}",
            ", ".join(f"{model.name} ({amount(model.size)})" for model in found.models),
            ", ".join(found.left_behind),
            ", ".join(f"{name}: {value}" for name, value in spec.labels.items()),
            found.trouble or "reachable",
        )

    def to_json(self) -> dict[str, Any]:
        spec, found = self.board.spec, self.standing
        return {
            "name": spec.name,
            "address": found.address or spec.host,
            "home": found.home or self.board.home,
            "reachable": self.reachable,
            "reason": found.trouble or None,
            "load": found.load,
            "disk_free": found.disk_free,
            "disk_size": found.disk_size,
            "slots": spec.slots,
            "leases": [_holder(holder) for holder in self.holders],
            "models": [{"name": model.name, "size": model.size} for model in found.models],
            "left_behind": list(found.left_behind),
            "labels": dict(spec.labels),
        }


def boards_of(suites: Iterable[Suite]) -> list[Board]:
    """Every board that a suite names, each once, in their order. Raises ConfigError where none is named."""
    found: dict[tuple[str, str], Board] = {}
    looked = []
    for suite in suites:
        looked.append(suite.file)
        for settings in _speaking(suite):
            for spec in map(DeviceSpec.of, settings.devices):
                board = Board(spec, home_of(spec, settings))
                found.setdefault((spec.key, board.home), board)
    if not found:
        raise ConfigError(f"no suite names a board; looked in {', '.join(looked)}; write `devices:` into one of them")
    return list(found.values())


def _speaking(suite: Suite) -> Iterator[Settings]:
    """The settings of boards of all pairs: those whose layers say the same have the same, and are resolved once."""
    seen = set()
    for pair in suite.pairs:
        layers = [layer for layer in pair.layers if any(name in layer.values for name in _SPEAKING)]
        said = tuple(map(id, layers))
        if said not in seen:
            seen.add(said)
            yield resolve([*layers])


def board_rows(boards: Sequence[Board]) -> list[BoardRow]:
    """One each, in their order; all are asked at once."""
    wanted = [Wanted(host_of(board.spec), board.home) for board in boards]
    directory = LeaseDirectory()
    rows = zip(boards, survey(wanted), strict=True)
    return [BoardRow(board, standing, _holders(directory, board.spec)) for board, standing in rows]


def _holders(directory: LeaseDirectory, spec: DeviceSpec) -> tuple[Holder, ...]:
    try:
        device = Device(spec.name, identity(host_of(spec)), spec.labels, spec.slots)
    except ConfigError:  # nobody can lease it either; its standing says why
        return ()
    (state,) = DevicePool(directory, [device]).states()
    return state.holders


def _holder(holder: Holder) -> dict[str, Any]:
    since = holder.since.isoformat(timespec="seconds") if holder.since else None
    return {"pid": holder.pid or None, "user": holder.user or None, "since": since}
