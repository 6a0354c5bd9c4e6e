"""Which process of this machine goes on with a session: once it is gone nobody will, and its slot need not wait.

Clients of ours say it with what they ask; of others nothing is known, and leases are all that there is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.processes import start_time

if TYPE_CHECKING:
    from collections.abc import Collection

    # A PID, and the moment at which that process started.
    Owner = tuple[int, float]

FIELD = "owner"


def own_field() -> dict[str, Any]:
    """What a client adds to a request: itself, by what no later process with its PID shares."""
    return {FIELD: [os.getpid(), start_time(os.getpid())]}


class SessionOwners:
    """The owners of a controller's sessions, as far as they are processes of this machine."""

    def __init__(self) -> None:
        self._owners: dict[int, Owner] = {}

    def note(self, session: int, body: Any) -> None:
        """Hear who asked for a session. Who cannot be seen from here, as in a container, is nobody."""
        told = body.get(FIELD) if isinstance(body, dict) else None
        if not isinstance(told, list) or len(told) != 2 or self._owners.get(session) == tuple(told):
            return
        pid, moment = told
        if type(pid) is int and isinstance(moment, int | float) and _lives((pid, moment)):
            self._owners[session] = pid, moment

    def orphans(self, living: Collection[int]) -> list[int]:
        """Sessions, of those that live, whose owner is gone."""
        for session in self._owners.keys() - living:
            del self._owners[session]
        gone = {owner for owner in set(self._owners.values()) if not _lives(owner)}
        return [session for session, owner in self._owners.items() if owner in gone]


def _lives(owner: Owner) -> bool:
    pid, moment = owner
    return 0 < pid < 1 << 31 and start_time(pid) == moment
