"""The door of a controller or a worker: who may call, what may come in, and how errors go out.

A page that a browser shows may call whatever listens on this machine, so being on loopback guards nothing by itself:
the name that is called, the origin and the type of what is sent are looked at. Clients of AgentBench know no header
for a token: it is a part of the path, ``/t/TOKEN/api``.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.wire.addresses import is_loopback
from pytest_evalrun.agents.wire.dialects import encode_body
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.serving import behind_token, called_name, foreign_page, is_called
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from aiohttp import web

    # Takes the request and its body of JSON, None where it has none; answers a response, or what is its body.
    Handler = Callable[[web.Request, Any], Awaitable[Any]]

LARGEST_BODY = 16_000_000
# The results of all samples of a task, each with its history.
LARGEST_RESULTS = 256_000_000
_BODY_SECONDS = 120.0
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,200}")
# How a container calls the machine that it runs on.
_OUR_NAMES = frozenset({"localhost", "host.docker.internal", "host.containers.internal"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedCall:
    """What is called by one method, and how many bytes it is sent at most."""

    method: str
    handler: Handler
    largest: int = LARGEST_BODY


def check_binding(host: str, token: str | None) -> None:
    """Raise ConfigError where others could call without a token, or for a token that no path can hold."""
    if token is None:
        if not is_loopback(host):
            raise ConfigError(
                f"--host {host}: others than this machine could call, and there is no token; accepted: 127.0.0.1, or "
                "--token-env NAME of a variable that holds a token"
            )
    elif not _TOKEN.fullmatch(token):
        raise ConfigError("--token-env: accepted: a token of 8 to 200 letters, digits, and any of . _ ~ -")


def token_of(variable: str | None) -> str | None:
    """Read the token of a server from the environment. Raises ConfigError where the variable is not there."""
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise ConfigError(f"--token-env {variable}: there is no such environment variable, or it is empty")
    return token


def served_url(host: str, port: int, token: str | None = None) -> str:
    """Where a server's calls are; of one that listens everywhere, where this machine finds it."""
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    name = f"[{here}]" if ":" in here else here
    return f"http://{name}:{port}{f'/t/{token}' if token else ''}/api"


def guarded_application(
    calls: Mapping[str, ServedCall], *, host: str = "127.0.0.1", token: str | None = None, names: Collection[str] = ()
) -> web.Application:
    """Serve these calls below ``/api``, or ``/t/TOKEN/api`` where there is a token.

    ``host`` is where it listens, ``names`` are further ones that it is called by; which names others have for it
    nobody knows here, and there is the token for them. NotGranted of a handler is answered as FastAPI does, whatever
    else it raises as 500. Raises ConfigError as `check_binding`.
    """
    import socket

    from aiohttp import web

    check_binding(host, token)
    own = {name.lower() for name in (host, socket.gethostname(), *names)}
    door = _Door(calls, token, own | _OUR_NAMES if is_loopback(host) else None)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", door.answer)
    return application


def json_response(payload: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with a body of JSON."""
    from aiohttp import web

    return web.Response(body=encode_body(payload), status=status, headers=headers, content_type="application/json")


class _Door:
    def __init__(self, calls: Mapping[str, ServedCall], token: str | None, names: Collection[str] | None) -> None:
        self._calls = calls
        self._token = token
        self._names = names

    async def answer(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        name = ""
        try:
            name = self._called(request.path)
            call = self._admitted(request, name)
            answered = await call.handler(request, await _body(request, call.largest))
        except NotGranted as refusal:
            return json_response({"detail": refusal.text}, status=refusal.status)
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - no call ends the server
            _log.exception("%s: an error of the server", name or "a call")
            return json_response({"detail": "Internal Server Error"}, status=500)
        return answered if isinstance(answered, web.StreamResponse) else json_response(answered)

    def _called(self, path: str) -> str:
        """Tell the call that a path names, token first: who does not know it learns nothing else."""
        if self._token is not None:
            rest = behind_token(path, self._token)
            if rest is None:
                raise NotGranted(403, "Error: another token, or none; the URL of this server is http://…/t/TOKEN/api")
            path = rest
        prefix, _, name = path[1:].partition("/")
        if prefix != "api" or name not in self._calls:
            raise NotGranted(404, "Not Found")
        return name

    def _admitted(self, request: web.Request, name: str) -> ServedCall:
        """Look at how a request comes in. Raises NotGranted."""
        host = request.headers.get("Host", "")
        if not self._is_ours(host):
            raise NotGranted(421, f"Error: Host: found {host!r}, by which this server is not called")
        if (how := foreign_page(request.headers)) is not None:
            raise NotGranted(403, f"Error: {how}; pages of others may not call this server")
        call = self._calls[name]
        if request.method != call.method:
            raise NotGranted(405, "Method Not Allowed")
        kind = request.content_type
        if request.body_exists and kind != "application/json" and not kind.endswith("+json"):
            raise NotGranted(415, f"Error: Content-Type: found {kind!r}; accepted: application/json")
        return call

    def _is_ours(self, host: str) -> bool:
        """Whether a Host is this server; where others may come, nobody knows its names here."""
        return bool(called_name(host)) if self._names is None else is_called(host, self._names)


async def _body(request: web.Request, largest: int) -> Any:
    """Read a body of JSON up to so many bytes. Raises NotGranted."""
    import asyncio

    if not request.body_exists:
        return None
    chunks, size = [], request.content_length or 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            if size <= largest:
                size = 0
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > largest:
                        break
                    chunks.append(chunk)
    except TimeoutError:
        raise NotGranted(408, f"Error: the body did not come within {_BODY_SECONDS:g} s") from None
    if size > largest:
        raise NotGranted(413, f"Error: the body is larger than {largest // 1_000_000} MB")
    try:
        return parse_line(b"".join(chunks)) if chunks else None
    except ValueError as error:
        raise NotGranted(422, f"Error: the body is no JSON: {error}") from None
