"""A server of ours: its socket, whether a request comes from where it may, and what ends the process.

A page that a browser shows may call whatever listens on this machine, so being on loopback guards nothing by itself:
the name that is called and the origin are looked at, and a token may be a part of the path, ``/t/TOKEN/…``.
"""

from __future__ import annotations

import errno
import hmac
import os
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Collection, Mapping

    from aiohttp import web

# So often a server looks whether the process that it belongs to is still there.
_PARENT_SECONDS = 0.25
# So long requests that are being answered have when it is told to end.
_END_SECONDS = 1.0
_BACKLOG = 1024
_LARGEST_PORT = 65535


def bound_socket(host: str, port: int) -> socket.socket:
    """Bind the socket of a server; port 0 is any that is free. Raises ConfigError, in one line."""
    import socket

    if not 0 <= port <= _LARGEST_PORT:  # the resolver of the system takes 80000 for 14464
        raise ConfigError(f"--port {port}: accepted: 0 to {_LARGEST_PORT}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"--host {host}: {error.strerror or error}: accepted: an address of this machine") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ConfigError(_cannot_bind(host, port, error)) from None
    return bound


def _cannot_bind(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: in use on {host} by another process: end that, or name another port"
    if error.errno == errno.EACCES:
        return f"--port {port}: not allowed to this user: name another port"
    return f"--host {host}, --port {port}: {error.strerror or error}"


def behind_token(path: str, token: str) -> str | None:
    """The rest of a path behind ``/t/TOKEN``, from its slash on; None where another token is there, or none."""
    told, slash, rest = path.removeprefix("/t/").partition("/")
    known = hmac.compare_digest(told.encode("utf-8", "surrogatepass"), token.encode())
    return f"{slash}{rest}" if path.startswith("/t/") and known else None


def called_name(host: str) -> str:
    """The name in a ``Host`` header, in lower case, without port and brackets; nothing where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_called(host: str, names: Collection[str]) -> bool:
    """Whether a ``Host`` has one of these names; an address always is, as no page can have it for its own name."""
    name = called_name(host)
    if name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def foreign_page(headers: Mapping[str, str]) -> str | None:
    """How a request says that the page of somebody else makes it; None for our own pages, and for what is no page."""
    origin = headers.get("Origin")
    if origin is not None and _place_of(origin) != headers.get("Host", ""):
        return f"Origin: found {origin!r}"
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "Sec-Fetch-Site"
    return None


def _place_of(url: str) -> str | None:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def serve(
    application: web.Application, bound: socket.socket, listening: Callable[[], None], *, parent: int | None = None
) -> None:
    """Serve until SIGTERM, Ctrl-C, or until ``parent`` is no longer our parent; ``listening`` is called once we do."""
    import asyncio

    _allow_connections()
    asyncio.run(_serve(application, bound, listening, parent))


def _allow_connections() -> None:
    """Have as many open files as this user may: each sample that runs holds two connections."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a limit of its own below that
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(
    application: web.Application, bound: socket.socket, listening: Callable[[], None], parent: int | None
) -> None:
    import asyncio
    import signal

    from aiohttp import web

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_END_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        listening()
        await _wait(ended, parent)
    finally:
        await runner.cleanup()


async def _wait(ended: asyncio.Event, parent: int | None) -> None:
    import asyncio

    while not ended.is_set() and (parent is None or os.getppid() == parent):
        try:
            async with asyncio.timeout(None if parent is None else _PARENT_SECONDS):
                await ended.wait()
        except TimeoutError:
            pass
