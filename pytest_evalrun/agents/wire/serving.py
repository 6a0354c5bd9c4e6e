"""A server of ours as a process: its socket, its token, and what ends it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

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


def token_of(variable: str | None) -> str | None:
    """Read the token of a server from the environment. Raises ConfigError where the variable is not there."""
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise ConfigError(f"--token-env {variable}: there is no such environment variable, or it is empty")
    return token


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
