"""``evalrun view``: the page of a run on this machine, as long as somebody wants it."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor.web.server import RunServer
from pytest_evalrun.serving import bound_socket, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.monitor.web.pages import ServedPage
    from pytest_evalrun.rundir.layout import RunPaths

HOST = "127.0.0.1"
_TOKEN_BYTES = 24


def view(paths: RunPaths, port: int, page: ServedPage, say: Callable[[str], None]) -> None:
    """Serve a run until Ctrl-C or SIGTERM; ``say`` is told the link, and the end.

    Raises ConfigError where there is no run, the port is taken, or aiohttp is missing.
    """
    check_aiohttp()
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    bound = bound_socket(HOST, port)
    link = f"http://{HOST}:{bound.getsockname()[1]}/t/{token}/"
    server = RunServer(paths, token, page)
    name = os.path.basename(paths.root)  # noqa: PTH119 - as it is called
    serve(server.application(), bound, lambda: say(f"{name}: {link}  (Ctrl-C ends)"))
    say(f"{name}: no longer shown")


def check_aiohttp() -> None:
    """Raise ConfigError where what serves the page is not installed."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise ConfigError("evalrun view needs aiohttp: pip install pytest-evalrun[web]") from None
