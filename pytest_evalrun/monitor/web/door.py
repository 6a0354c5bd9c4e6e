"""The door of the page: who may look, and what no browser may do with what it is given."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.serving import behind_token, called_name, foreign_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    # Takes a request, and the rest of its path behind what is called.
    Show = Callable[[web.Request, str], Awaitable[web.StreamResponse]]

OUR_NAMES = frozenset({"127.0.0.1", "localhost"})
# Nothing of an answer is kept, guessed, framed or led away from; the page itself adds what it needs.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
LONGEST_PATH = 4096
_log = logging.getLogger(__name__)


class NotShown(Exception):  # noqa: N818 - an answer, not a fault
    """What is answered instead: a status of HTTP, and why in a line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Door:
    """Lets requests of this machine in that know the token, and answers what they name.

    ``shows`` are the first parts of paths behind the token: the empty one is the page; one that ends with a slash has
    everything below.
    """

    def __init__(self, token: str, shows: Mapping[str, Show]) -> None:
        self._token = token
        self._shows = shows

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, whatever comes."""
        try:
            show, rest = self._named(request)
            return await show(request, rest)
        except NotShown as refusal:
            return refused(refusal.status, refusal.text)
        except ConfigError as error:  # what is asked for is not there, or no longer
            return refused(404, str(error))
        except (ConnectionError, TimeoutError):
            raise
        except Exception:  # noqa: BLE001 - no request ends the server
            _log.exception("an error of the server")
            return refused(500, "an error of the server; its terminal says which")

    def _named(self, request: web.Request) -> tuple[Show, str]:
        """What a request names; the token first: who does not know it learns nothing else. Raises NotShown."""
        path = decoded(request.raw_path)
        rest = None if path is None else behind_token(path, self._token)
        if rest is None:
            raise NotShown(404, "Not Found")
        _admit(request, is_page=rest in ("", "/"))
        name = rest.removeprefix("/")
        if name in self._shows:
            return self._shows[name], ""
        head, slash, rest = name.partition("/")
        if show := self._shows.get(f"{head}{slash}"):
            return show, rest
        raise NotShown(404, "Not Found")


def decoded(raw_path: str) -> str | None:
    """The path of a request, decoded once, or None for one that no link of ours has."""
    raw = raw_path.partition("?")[0].partition("#")[0]
    if len(raw) > LONGEST_PATH or not raw.startswith("/"):
        return None
    path = unquote(raw, errors="surrogateescape")
    parts = path.split("/")
    return None if "\0" in path or "\\" in path or ".." in parts or "." in parts else path


def _admit(request: web.Request, *, is_page: bool) -> None:
    """Look at how a request comes in. Raises NotShown.

    A link may be followed from anywhere, for it has the token: the page alone may be gone to from other sites.
    """
    host = request.headers.get("Host", "")
    if called_name(host) not in OUR_NAMES:
        raise NotShown(421, "Host: accepted: 127.0.0.1 or localhost")
    followed = is_page and request.headers.get("Sec-Fetch-Dest") == "document" and "Origin" not in request.headers
    if not followed and (how := foreign_page(request.headers)) is not None:
        raise NotShown(403, f"{how}: pages of others see nothing here")
    if request.method not in ("GET", "HEAD"):
        raise NotShown(405, "accepted: GET and HEAD; nothing is changed from here")


def refused(status: int, text: str) -> web.Response:
    """Say in JSON why something is not shown."""
    return json_answer({"error": text}, status=status)


def json_answer(value: Any, *, status: int = 200) -> web.Response:
    """Answer with JSON; bytes are JSON already."""
    from aiohttp import web

    body = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":"), default=str).encode()
    return web.Response(body=body, status=status, content_type="application/json")


async def guard_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Put our headers on every answer, aiohttp's own too; what has one of its own keeps it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)
