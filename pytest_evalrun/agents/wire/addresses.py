"""Where servers of tasks are: their URLs, and whether a worker is where it says it is."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    IpAddress = IPv4Address | IPv6Address
    _Network = IPv4Network | IPv6Network

_TOKEN = re.compile(r"(/t/)[^/]*|(//)[^/@]*@")
# How the bridges are called to which docker and podman connect their containers.
_BRIDGES = ("docker", "br-", "podman", "cni-podman")
_LOOKUP_SECONDS = 5.0


def server_address(address: Any, what: str) -> str:
    """The URL of a controller or worker as calls are appended to it; ``what`` names the setting in errors.

    Raises ConfigError for what is no URL of HTTP: AgentRL's gRPC is not spoken here.
    """
    wanted = "accepted: http://HOST:PORT/api"
    if not isinstance(address, str):
        raise ConfigError(f"{what}: found {address!r}; {wanted}")
    found = f"{what}: found {shown_address(address)!r}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{found}: {error}; {wanted}") from None
    if parts.scheme == "grpc":
        raise ConfigError(f"{found}: gRPC is not spoken here; {wanted}")
    is_sound = parts.scheme in ("http", "https") and host and port != 0 and parts.username is None
    if not is_sound or parts.query or parts.fragment:
        raise ConfigError(f"{found}; {wanted}")
    path = parts.path.rstrip("/")
    if not path or (path.startswith("/t/") and path.count("/") == 2):
        path += "/api"
    return f"{parts.scheme}://{parts.netloc}{path}"


def shown_address(address: str) -> str:
    """An address without the token or password that it holds, for people and logs."""
    return _TOKEN.sub(lambda match: f"{match[1] or match[2]}***{'' if match[1] else '@'}", address)


def is_loopback(host: str) -> bool:
    """Whether whoever listens there can only be reached from this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def check_worker_address(
    address: str, caller: str | None, allowed: Collection[str] = (), *, with_token: bool = False
) -> None:
    """Let a worker name its caller's address alone, or one that is listed: nobody sends us elsewhere.

    All addresses of this machine are one. ``allowed`` are names, addresses and networks (10.0.0.0/8). Whoever knows
    the token may be in a container of this machine, and named by the port that is published for it. Raises NotGranted
    (422 for what is no URL, 403).
    """
    try:
        host = urlsplit(server_address(address, "receive_heartbeat: `address`")).hostname or ""
    except ConfigError as error:
        raise NotGranted(422, f"Error: {error}") from None
    if host in allowed:
        return
    named, calling = await _addresses(host), _address(caller or "")
    networks = [network for text in allowed if (network := _network(text))]
    if not named or calling is None or not all(_is_same(one, calling, networks, with_token) for one in named):
        raise NotGranted(
            403,
            f"Error: a worker says that it is at {host}, and calls from {caller}; accepted: the address that it calls "
            f"from (--self), or one that the controller lists: evalrun controller --allow-worker {host}",
        )


def _is_same(named: IpAddress, calling: IpAddress, networks: Iterable[_Network], with_token: bool) -> bool:
    if named == calling or (named.is_loopback and calling.is_loopback):
        return True
    if any(named in network for network in networks):
        return True
    own, bridges = _own_addresses()
    return all(
        one.is_loopback or one in own or (with_token and any(one in bridge for bridge in bridges))
        for one in (named, calling)
    )


def _own_addresses() -> tuple[set[IpAddress], list[_Network]]:
    """The addresses of this machine, and the networks of its containers."""
    import psutil

    own, bridges = set(), []
    for name, found in psutil.net_if_addrs().items():
        for one in found:
            if (ip := _address(one.address)) is not None:
                own.add(ip)
                if name.startswith(_BRIDGES) and (network := _network(f"{one.address}/{one.netmask}")):
                    bridges.append(network)
    return own, bridges


async def _addresses(host: str) -> list[IpAddress]:
    """Look a name up; none where nobody knows it."""
    import asyncio

    if (ip := _address("127.0.0.1" if host == "localhost" else host)) is not None:
        return [ip]
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return [ip for one in found if (ip := _address(str(one[4][0]))) is not None]


def _address(text: str) -> IpAddress | None:
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if ip.version == 6 else None
    return mapped or ip


def _network(text: str) -> _Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
