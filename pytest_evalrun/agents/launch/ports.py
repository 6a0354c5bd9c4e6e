"""Ports of this machine: which are free, and who has those that are not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.llm.served import HOST, listeners

if TYPE_CHECKING:
    from collections.abc import Callable

LAST = 65535
CONNECT_SECONDS = 1.0


def is_free(port: int) -> bool:
    """Whether nobody listens there, neither on loopback nor everywhere, and a server could."""
    with socket.socket() as asked:
        asked.settimeout(CONNECT_SECONDS)
        if asked.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def owner_of(port: int) -> str:
    """Say who listens on a port, as far as this user may know: ``process 123 (nginx)``."""
    import psutil

    names = []
    for pid in listeners(port, set()):
        try:
            names.append(f"process {pid} ({psutil.Process(pid).name()})" if pid else "a process of another user")
        except psutil.Error:
            names.append(f"process {pid}")
    return " and ".join(names) or "a process that cannot be told"


class PortsFrom:
    """Free ports one after the other, from a first one on; those that are taken are said and passed over."""

    def __init__(self, first: int, say: Callable[[str], None]) -> None:
        self._next = first
        self._say = say

    def take(self) -> int:
        """Raises ConfigError where none is left."""
        while self._next <= LAST:
            port = self._next
            self._next += 1
            if is_free(port):
                return port
            self._say(f"port {port} is taken by {owner_of(port)}; passed over")
        raise ConfigError(f"no free port is left up to {LAST}; begin with a lower one: --base-port")
