"""A server is the one that the user knows by known_hosts, or by a fingerprint that the suite pins."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.hosts import ACCEPT_NEW, PIN, SSH_PORT
from pytest_evalrun.suite.printable import first_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.remote.hosts import Hop


_USUAL = "~/.ssh/known_hosts"
_AUTHORITY = "@cert-authority"
_REVOKED = "@revoked"
_MOST_SHOWN = 5


@dataclass(frozen=True)
class _Line:
    """A line of a known_hosts file: the names that it is for, as patterns, and a key as the server would send it.

    ``trouble`` says why nobody can use it; then the rest may be empty.
    """

    file: str
    number: int
    marker: str = ""
    names: str = ""
    kind: str = ""
    key: bytes = b""
    trouble: str = ""

    def is_for(self, name: str) -> bool:
        """By OpenSSH's rules: any of several patterns or hashes, unless one that is negated has the name too."""
        patterns = self.names.lower().split(",") if not self.names.startswith("|") else [self.names]
        if any(_matches(pattern[1:], name) for pattern in patterns if pattern.startswith("!")):
            return False
        return any(_matches(pattern, name) for pattern in patterns)

    def __str__(self) -> str:
        return f"{self.kind} {_print_of(self.key)}"


def fingerprint(key: Any) -> str:
    """As ``ssh-keygen -l`` shows it."""
    return _print_of(key.asbytes())


def _print_of(key: bytes) -> str:
    return PIN + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


class KnownKeys:
    """The keys of one server by what the files say; ``types`` are their kinds, to be asked for first.

    ``notes`` name the lines that nobody can use: they are passed over, and the others count.
    """

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self._pinned = hop.host_key.startswith(PIN)
        self._name, *others = _names(hop)
        lines = [line for file in hop.known_hosts for line in self._lines(file)]
        self.notes = () if self._pinned else tuple(_notes(lines, self._name))
        ours = [line for line in lines if any(map(line.is_for, [self._name, *others]))]
        self._revoked = [line for line in ours if line.marker == _REVOKED]
        plain = [line for line in ours if not line.marker and not self._pinned]
        self._known = [line for line in plain if line.is_for(self._name)]
        self._elsewhere = [line for line in plain if line not in self._known]

    def _lines(self, file: str) -> list[_Line]:
        try:
            return list(_read(file))
        except ConfigError:
            if self._pinned:  # the suite knows the key
                return []
            raise

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line.kind for line in [*self._known, *self._elsewhere]))

    def check(self, key: Any) -> None:
        """Raises ConfigError, with the fingerprint and how to accept it, for a key that is not known."""
        for line in self._revoked:
            if line.key == key.asbytes():
                raise ConfigError(self._is_revoked(line))
        if self._pinned:
            self._check_pinned(key)
        elif any(line.key == key.asbytes() for line in self._known):
            return
        elif self._known:
            raise ConfigError(self._changed(key))
        elif any(line.key == key.asbytes() for line in self._elsewhere):
            return
        elif self._hop.host_key == ACCEPT_NEW:
            self._accept(key)
        else:
            raise ConfigError(self._unknown(key))

    def _is_revoked(self, line: _Line) -> str:
        return (
            f"board {self._hop}: its host key is revoked: {line} stands as {_REVOKED} in {line.file}, line "
            f"{line.number}; who has it may be somebody else. Give the board a new key, or remove that line"
        )

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
        known = ", ".join(f"{line} in {line.file}, line {line.number}" for line in self._known)
        return (
            f"board {self._hop}: its host key has CHANGED: known is {known}; it has {_shown(key)}; somebody may be "
            f"listening. If the board was set up anew and this is its key, forget the old one by "
            f"`ssh-keygen -R '{self._name}' -f {self._known[0].file}` and accept the new one by {self._ssh()}"
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
            fd = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(fd).st_size
                torn = size and os.pread(fd, 1, size - 1) != b"\n"  # it would become a part of the line before
                os.write(fd, ("\n" * bool(torn) + line).encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise ConfigError(f"{file}: the key of board {self._hop} cannot be kept: {error.strerror}") from error


def _shown(key: Any) -> str:
    return f"{key.get_name()} {fingerprint(key)}"


def _names(hop: Hop) -> tuple[str, ...]:
    """Name the server as OpenSSH does in the files, then by what else a key of it is let in."""
    known_as = hop.known_as.lower()
    ported = f"[{known_as}]:{hop.port}"
    if hop.port == SSH_PORT:
        return (known_as,)
    return (ported, known_as) if hop.known_as == hop.address else (known_as, ported)


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("|"):
        return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))  # only * and ? are special
    try:
        _, version, salt, digest = pattern.split("|")
        made = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
        return version == "1" and hmac.compare_digest(made, base64.b64decode(digest))
    except ValueError:
        return False


def _read(file: str) -> Iterator[_Line]:
    """The lines of a file that say something; none where it does not exist."""
    try:
        text = Path(file).read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield _line(file, number, words)


def _line(file: str, number: int, words: list[str]) -> _Line:
    marker = words[0] if words[0].startswith("@") else ""
    if marker not in ("", _AUTHORITY, _REVOKED):
        return _Line(file, number, trouble=f"nobody knows {marker[:20]!r}")
    names, kind, coded, *_ = [*words[bool(marker) :], "", "", ""]
    try:
        key = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not kind or not key.startswith(len(kind).to_bytes(4, "big") + kind.encode(errors="replace")):
        old = kind.isdecimal() and coded.isdecimal()
        return _Line(file, number, trouble="a key of SSH 1" if old else "no names, type and key")
    return _Line(file, number, marker, names, kind, key)


def _notes(lines: Iterable[_Line], name: str) -> Iterator[str]:
    """One for each file in which something was passed over."""
    troubles: dict[str, list[str]] = {}
    for line in lines:
        why = line.trouble
        if line.marker == _AUTHORITY and line.is_for(name):
            why = f"{_AUTHORITY}: certificates of hosts are not supported"
        if why:
            troubles.setdefault(line.file, []).append(f"line {line.number} ({why})")
    for file, found in troubles.items():
        yield f"{file}: passed over: {first_of(found, _MOST_SHOWN)}"
