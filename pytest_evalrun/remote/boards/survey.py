"""How the boards stand: reachable or why not, load, free disk, models, what was left behind; of all at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.remote.boards.atonce import at_once
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.faults import LinkLost
from pytest_evalrun.remote.hosts import route
from pytest_evalrun.remote.link import Limits
from pytest_evalrun.remote.places import CACHE, left_behind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.remote.hosts import Host

# Somebody waits at a terminal.
PATIENCE = Limits(connect=5.0, quiet=5.0, reconnect=0.0)

# $1: home. One fact a line; what a board cannot tell is left out.
_STAND = f"""
cd -P -- "$1" || exit 1
{{ read -r load rest < /proc/loadavg; }} 2>/dev/null && echo "load $load"
df -Pk . 2>/dev/null | {{ read -r head; read -r name size used free rest && echo "disk $free $size"; }}
for f in {CACHE}/*; do [ -f "$f" ] && echo "model $(($(wc -c < "$f"))) ${{f#*/}}"; done
exit 0
"""


@dataclass(frozen=True)
class CachedModel:
    """A model in the cache of a board, with its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class BoardHealth:
    """How a board stands. ``trouble`` says why it cannot be used; then the rest is unknown. Sizes are bytes."""

    name: str
    address: str = ""
    trouble: str = ""
    home: str = ""
    load: float | None = None
    disk_free: int | None = None
    disk_size: int | None = None
    models: tuple[CachedModel, ...] = ()
    left_behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A board to look at, and its REMOTE_TASK_HOME."""

    host: Host
    home: str = ""


def survey(wanted: Sequence[Wanted], limits: Limits = PATIENCE) -> list[BoardHealth]:
    """One standing each, in their order; a board that cannot be reached is one of them."""
    return at_once(partial(standing, limits=limits), wanted)


def standing(wanted: Wanted, limits: Limits = PATIENCE) -> BoardHealth:
    """Look at one board."""
    name, address = wanted.host.name, ""
    try:
        address = str(route(wanted.host)[-1])
        with Connection(wanted.host, home=wanted.home, limits=limits) as board:
            return _ask(board, address, limits)
    except (EvalrunError, LinkLost, TimeoutError) as error:
        return BoardHealth(name, address, trouble=str(error).removeprefix(f"board {address}: "))


def health(board: Connection) -> str | None:
    """Why a board cannot be used; None where it can. Asked before a pair is given to it.

    A link that was lost while nobody used the board may be found out only by the first command: it is made again.
    """
    reason = None
    for _ in range(2):
        try:
            board.connect(patiently=True)
            board.must("a first command", ":", timeout=board.limits.connect)
            return None
        except LinkLost as error:
            reason = str(error)
            if board.gone:
                break
        except (EvalrunError, TimeoutError) as error:
            return str(error)
    return reason


def _ask(board: Connection, address: str, limits: Limits) -> BoardHealth:
    text = board.must("looking around", _STAND, board.facts.home, timeout=limits.connect).text
    found = [line.partition(" ")[::2] for line in text.splitlines()]
    facts = dict(found)
    free, _, size = facts.get("disk", "").partition(" ")
    models = [rest.partition(" ")[::2] for word, rest in found if word == "model"]
    return BoardHealth(
        board.name,
        address,
        home=board.facts.home,
        load=float(facts["load"]) if "load" in facts else None,
        disk_free=int(free) * 1024 if free.isdecimal() else None,
        disk_size=int(size) * 1024 if size.isdecimal() else None,
        models=tuple(CachedModel(model, int(taken)) for taken, model in models),
        left_behind=tuple(left_behind(board)),
    )
