"""The way to a board: the suite's words, completed by the user's own ssh configuration."""

from __future__ import annotations

import getpass
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.suite.devices import DeviceSpec

CHECK = "check"
ACCEPT_NEW = "accept-new"
PIN = "SHA256:"
SSH_PORT = 22
_MOST_HOPS = 8
_MOST_INCLUDES = 16


@dataclass(frozen=True)
class Host:
    """A board as the suite names it; what it leaves open is read from the user's ssh configuration.

    ``host_key`` is ``check`` (known_hosts decides), ``accept-new``, or the fingerprint ``SHA256:…`` of its key.
    ``password_env`` names the environment variable that holds its password.
    """

    name: str
    user: str | None = None
    port: int | None = None
    identity_files: tuple[str, ...] = ()
    jump: str | None = None
    password_env: str | None = None
    host_key: str = CHECK
    config: str = "~/.ssh/config"
    known_hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hop:
    """One SSH server on the way to a board, the board itself being the last; nothing in it is left open."""

    name: str
    address: str
    port: int
    user: str
    identity_files: tuple[str, ...]
    known_as: str
    known_hosts: tuple[str, ...]
    host_key: str = CHECK
    password_env: str | None = None
    agent: bool = True
    search_keys: bool = True

    def __str__(self) -> str:
        where = self.address if self.port == SSH_PORT else f"{self.address}:{self.port}"
        return self.name if self.name == where else f"{self.name} ({self.user}@{where})"


def host_of(spec: DeviceSpec) -> Host:
    """How to get to a board of the suite."""
    return Host(
        name=spec.host,
        user=spec.user,
        port=spec.port,
        identity_files=spec.identity_file,
        jump=spec.jump,
        password_env=spec.password_env,
        host_key=spec.host_key,
        known_hosts=(spec.known_hosts,) if spec.known_hosts else (),
    )


def route(host: Host) -> tuple[Hop, ...]:
    """The servers to pass, the board last. Raises ConfigError for what cannot be understood or never ends."""
    _check(host)
    return tuple(_route(host, _read(Path(host.config).expanduser()), ()))


def identity(host: Host) -> str:
    """Give the same text to all who mean the same account of the same board, however they name it."""
    last = route(host)[-1]
    return f"{last.user}@{last.address}:{last.port}"


def _check(host: Host) -> None:
    if host.host_key not in (CHECK, ACCEPT_NEW) and not host.host_key.startswith(PIN):
        accepted = f"{CHECK}, {ACCEPT_NEW} or a fingerprint {PIN}…"
        raise ConfigError(f"board {host.name}: host_key is {host.host_key!r}; accepted: {accepted}")
    if not host.name or host.name.startswith("-") or any(letter.isspace() for letter in host.name):
        raise ConfigError(f"board {host.name!r}: this is no name of a host")


def _route(host: Host, config: Any, passed: tuple[str, ...]) -> list[Hop]:
    if host.name in passed or len(passed) >= _MOST_HOPS:
        raise ConfigError(f"board {passed[0]}: ProxyJump never ends: {' -> '.join((*passed, host.name))}")
    found = config.lookup(host.name)
    jump = host.jump if host.jump is not None else found.get("proxyjump", "none")
    if jump.lower() == "none" and found.get("proxycommand", "none").lower() != "none":
        raise ConfigError(f"board {host.name}: ProxyCommand is not supported; ProxyJump leads there as well")
    before: list[Hop] = []
    for number, word in enumerate([] if jump.lower() == "none" else jump.split(",")):
        stop = _jump_host(word.strip(), host)
        # Only the first of several is looked for by a way of its own: the others are reached from the one before.
        before += _route(stop, config, (*passed, host.name)) if number == 0 else [_hop(stop, config.lookup(stop.name))]
    return [*before, _hop(host, found)]


def _jump_host(word: str, host: Host) -> Host:
    """A server of ProxyJump: ``[user@]name[:port]`` or ``ssh://…``; what the suite says of the board is not its own."""
    user, _, place = word.removeprefix("ssh://").rpartition("@")
    name, colon, port = place.rpartition(":")
    if not colon or "]" in port:
        name, port = place, ""
    if not name or (port and not port.isdecimal()):
        raise ConfigError(f"board {host.name}: ProxyJump {word!r} is not [user@]host[:port]")
    own = replace(Host(name.strip("[]")), config=host.config, known_hosts=host.known_hosts)
    return replace(own, user=user or None, port=int(port) if port else None)


def _hop(host: Host, found: Mapping[str, Any]) -> Hop:
    address = found.get("hostname", host.name)
    known = host.known_hosts or _words(found, "userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    general = () if host.known_hosts else _words(found, "globalknownhostsfile", "/etc/ssh/ssh_known_hosts")
    keys = map(_expanded, host.identity_files or found.get("identityfile", ()))
    return Hop(
        name=host.name,
        address=address,
        port=host.port or int(found.get("port", SSH_PORT)),
        user=host.user or found.get("user") or getpass.getuser(),
        # Those that exist, as ssh itself passes over the others; of what no file can be called, too.
        identity_files=tuple(key for key in keys if os.path.isfile(key)),  # noqa: PTH113
        known_as=found.get("hostkeyalias", address),
        known_hosts=tuple(_expanded(path) for path in (*known, *general)),
        host_key=host.host_key,
        password_env=host.password_env,
        agent=found.get("identitiesonly", "no").lower() != "yes",
        search_keys=not (host.identity_files or found.get("identityfile")),
    )


def _words(found: Mapping[str, Any], key: str, default: str) -> tuple[str, ...]:
    return tuple(shlex.split(found.get(key, default)))


def _expanded(path: str) -> str:
    return str(Path(path).expanduser())


def _read(path: Path) -> Any:
    """The configuration with what it includes; none where the file does not exist."""
    import paramiko

    config = paramiko.SSHConfig()
    try:
        config.parse(_lines(path, 0))
    except (paramiko.ssh_exception.ConfigParseError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def _lines(path: Path, depth: int) -> Iterator[str]:
    """paramiko knows no Include."""
    if depth > _MOST_INCLUDES:
        raise ConfigError(f"{path}: Include never ends")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    for line in text.splitlines(keepends=True):
        word, _, rest = line.strip().partition(" ")
        if word.lower() == "include":
            for pattern in shlex.split(rest):
                yield from _included(path, pattern, depth)
        else:
            yield line


def _included(path: Path, pattern: str, depth: int) -> Iterator[str]:
    place = Path(os.path.expanduser(pattern))  # noqa: PTH111 - a pattern, no path
    base = Path(place.anchor) if place.is_absolute() else path.parent
    for file in sorted(base.glob(str(place.relative_to(base) if place.is_absolute() else place))):
        yield from _lines(file, depth + 1)
        yield "\n"
