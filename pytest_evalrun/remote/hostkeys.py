"""Whether a server is the one that the user knows: by known_hosts, or by a fingerprint that the suite pins."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.hosts import ACCEPT_NEW, PIN, SSH_PORT

if TYPE_CHECKING:
    from pytest_evalrun.remote.hosts import Hop


_USUAL = "~/.ssh/known_hosts"


def fingerprint(key: Any) -> str:
    """As ``ssh-keygen -l`` shows it."""
    return PIN + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


class KnownKeys:
    """What the files say of one server; ``types`` are the kinds of its keys, to be asked for first."""

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self._name = hop.known_as if hop.port == SSH_PORT else f"[{hop.known_as}]:{hop.port}"
        self._known = [] if hop.host_key.startswith(PIN) else [*_known(hop, self._name)]

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key.get_name() for _, key in self._known))

    def check(self, key: Any) -> None:
        """Raises ConfigError, with the fingerprint and how to accept it, for a key that is not known."""
        if self._hop.host_key.startswith(PIN):
            self._check_pinned(key)
        elif any(known == key for _, known in self._known):
            return
        elif self._known:
            raise ConfigError(self._changed(key))
        elif self._hop.host_key == ACCEPT_NEW:
            self._accept(key)
        else:
            raise ConfigError(self._unknown(key))

    def _check_pinned(self, key: Any) -> None:
        if fingerprint(key) != self._hop.host_key.rstrip("="):
            raise ConfigError(
                f"board {self._hop}: its host key is not the pinned one: the suite says {self._hop.host_key}, "
                f"it has {_shown(key)}; if the board was set up anew and this is its key, change host_key in the suite"
            )

    def _unknown(self, key: Any) -> str:
        return (
            f"board {self._hop}: its host key is not known: {_shown(key)}; compare it with the board's own "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub, there), then accept it by {self._ssh()}, "
            f"by `host_key: {fingerprint(key)}` in the suite, or any new one by `host_key: {ACCEPT_NEW}`"
        )

    def _changed(self, key: Any) -> str:
        known = ", ".join(f"{_shown(old)} in {file}" for file, old in self._known)
        return (
            f"board {self._hop}: its host key has CHANGED: known is {known}; it has {_shown(key)}; somebody may be "
            f"listening. If the board was set up anew and this is its key, forget the old one by "
            f"`ssh-keygen -R '{self._name}' -f {self._known[0][0]}` and accept the new one by {self._ssh()}"
        )

    def _ssh(self) -> str:
        port = "" if self._hop.port == SSH_PORT else f"-p {self._hop.port} "
        own = Path(self._hop.known_hosts[0])
        file = "" if own == Path(_USUAL).expanduser() else f"-o UserKnownHostsFile={own} "
        return f"`ssh {port}{file}{self._hop.user}@{self._hop.address}`"

    def _accept(self, key: Any) -> None:
        """One line in one write: workers that meet the board at the same time do no harm."""
        file = Path(self._hop.known_hosts[0])
        line = f"{self._name} {key.get_name()} {key.get_base64()}\n"
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise ConfigError(f"{file}: the key of board {self._hop} cannot be kept: {error.strerror}") from error


def _shown(key: Any) -> str:
    return f"{key.get_name()} {fingerprint(key)}"


def _known(hop: Hop, name: str) -> list[tuple[str, Any]]:
    """The keys under that name, hashed or plain, and the file that each stands in."""
    import paramiko

    found: list[tuple[str, Any]] = []
    for file in hop.known_hosts:
        keys = paramiko.HostKeys()
        try:
            keys.load(file)
        except FileNotFoundError:
            continue
        except (OSError, paramiko.SSHException, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: cannot be read: {error}") from error
        found += [(file, key) for key in (keys.lookup(name) or {}).values()]
    return found
