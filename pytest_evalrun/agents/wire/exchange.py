"""Requests of JSON to servers of tasks, over connections that are kept; each ends in its time and at its size."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.wire.addresses import shown_address
from pytest_evalrun.agents.wire.dialects import encode_body
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    import aiohttp

# Servers close connections that are idle: uvicorn after 5 s. One that is closed while a request begins loses that.
_IDLE_SECONDS = 2.5
_CONNECT_SECONDS = 10.0
_MOST_SHOWN = 2_000
# What is larger is sent piece by piece.
_LARGE = 500_000
_CLOSE_SECONDS = 5.0


class Silent(Exception):  # noqa: N818 - what is the case
    """Nobody answered; ``unsent`` where the request reached nobody either, so that it may be sent again."""

    def __init__(self, text: str, *, unsent: bool = False) -> None:
        super().__init__(text)
        self.unsent = unsent


class Oversized(Exception):  # noqa: N818 - as above
    """An answer was larger than it may be; nothing of it is kept."""


@dataclass(frozen=True)
class HttpAnswer:
    """What a server answered: status, headers, and its body, at most as large as was asked for."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def payload(self) -> Any:
        """The body's JSON. Raises ValueError where it is none."""
        return parse_line(self.data)

    @property
    def text(self) -> str:
        """The body, for people: what FastAPI's errors say, and not more than a screen of it."""
        try:
            payload = self.payload
        except ValueError:
            payload = None
        detail = payload.get("detail") if isinstance(payload, dict) else None
        return (detail if isinstance(detail, str) else self.data.decode(errors="replace"))[:_MOST_SHOWN]


class Exchange:
    """Asks servers; used in one event loop at a time, and closed there."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        timeout: float,
        largest: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Send a request and read its answer, all within ``timeout`` seconds and up to ``largest`` bytes.

        Raises Silent, and Oversized.
        """
        import aiohttp

        sent, headers = None, dict(headers or {})
        if body is not None:
            data = encode_body(body)
            sent = data if len(data) < _LARGE else io.BytesIO(data)
            headers["Content-Type"] = "application/json"
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=min(_CONNECT_SECONDS, timeout))
        shown = shown_address(url)
        try:
            async with self._open().request(
                method, url, data=sent, headers=headers, params=query, timeout=limit, allow_redirects=False
            ) as response:
                return HttpAnswer(response.status, response.headers, await _read(response, largest))
        except aiohttp.ConnectionTimeoutError:
            raise Silent(f"{shown}: no connection within {limit.sock_connect:g} s", unsent=True) from None
        except TimeoutError:
            raise Silent(f"{shown}: no answer within {timeout:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise Silent(f"{shown}: nobody listens there ({error.strerror or error.os_error})", unsent=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Silent(f"{shown}: {type(error).__name__}: {shown_address(str(error))}") from None

    async def close(self) -> None:
        """Close the connections."""
        import asyncio

        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            with suppress(TimeoutError):
                await asyncio.wait_for(session.close(), _CLOSE_SECONDS)

    def _open(self) -> aiohttp.ClientSession:
        """The connections of this event loop; those of a loop that has ended went with it."""
        import asyncio

        import aiohttp

        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            self._loop = loop
        return self._session


async def _read(response: aiohttp.ClientResponse, largest: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > largest:
            response.close()
            raise Oversized(f"{shown_address(str(response.url))}: the answer is larger than {largest // 1_000_000} MB")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
