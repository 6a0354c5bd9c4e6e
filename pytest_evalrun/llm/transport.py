"""Requests with JSON to one URL: they run in one thread, however many are under way, over connections that are kept."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pytest_evalrun.adapters.eventloop import LoopThread, give_back_thread, take_thread
from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.llm.refusals import PROXY_REMEDY, PROXY_UNAUTHORIZED, Passing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from concurrent.futures import Future

    import aiohttp

Result = TypeVar("Result")
# This machine, which no proxy reaches.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LARGEST_ANSWER = 10_000_000
CONNECT_SECONDS = 30.0
# Waiting for connections to close, and at the end of a pair for what is under way, is nobody's business for longer.
CLOSE_SECONDS = 5.0


class Transport:
    """Posts to one URL, with the same headers each time. It is used from any thread, and closed by who made it.

    TLS is verified in any case: ``verify`` is a file of certificates to trust besides those of this machine, relative
    to ``root``. ``proxy`` is that of the environment where none is given. Raises PairError for a header that cannot be
    sent, where ``verify`` names no certificates, and where what is needed for all of this is not installed.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        key: str | None = None,
        verify: str | None = None,
        root: str = "",
        proxy: str | None = None,
        timeout: float,
    ) -> None:
        if find_spec("aiohttp") is None:
            raise PairError('aiohttp is needed to ask an endpoint: pip install "pytest-evalrun[llm]"')
        self.url = url
        self._headers = _headers(headers, key)
        self._trusted = _trusted(verify, root)
        self._proxy = proxy or _proxy_of(url)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._thread: LoopThread | None = None
        self._pid = 0
        # Of the thread's own: what it is at for us.
        self._tasks: set[asyncio.Task[Any]] = set()

    def post(
        self, body: Mapping[str, Any], read: Callable[[aiohttp.ClientResponse, float], Awaitable[Result]]
    ) -> Future[Result]:
        """Send a body, and have the answer ``read``, which gets the moment of a monotonic clock when it was sent, too.

        The future's error is Passing where there was no answer that could be read, PairError where there cannot be
        one, and whatever ``read`` raises. Cancelling the future ends the request.
        """
        if self._thread is None or self._pid != os.getpid():
            self._thread, self._session, self._pid, self._tasks = take_thread(), None, os.getpid(), set()
        return self._thread.submit(self._noted(body, read))

    def close(self) -> None:
        """End what is under way, and close the connections."""
        thread, self._thread = self._thread, None
        if thread is None or self._pid != os.getpid():
            return
        closed = thread.submit(self._close())
        with suppress(TimeoutError):
            closed.result(CLOSE_SECONDS)
        give_back_thread(thread)

    async def _close(self) -> None:
        session, self._session = self._session, None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if session is not None:
            await session.close()

    async def _noted(
        self, body: Mapping[str, Any], read: Callable[[aiohttp.ClientResponse, float], Awaitable[Result]]
    ) -> Result:
        task = asyncio.current_task()
        assert task is not None, "run_coroutine_threadsafe makes one"
        self._tasks.add(task)
        try:
            return await self._post(body, read)
        finally:
            self._tasks.discard(task)

    async def _post(
        self, body: Mapping[str, Any], read: Callable[[aiohttp.ClientResponse, float], Awaitable[Result]]
    ) -> Result:
        import aiohttp

        if self._session is None:
            self._session = self._connect()
        started = time.perf_counter()
        try:
            sent = self._session.post(self.url, data=_encoded(body), proxy=self._proxy, allow_redirects=False)
            async with sent as response:
                return await read(response, started)
        except aiohttp.ClientConnectorCertificateError as error:
            raise PairError(
                f"{self.url}: {error.certificate_error}; accepted: `verify: FILE` of who signed it"
            ) from None
        except aiohttp.InvalidURL as error:
            raise PairError(f"{self.url}: no URL: {error}") from None
        except aiohttp.ClientHttpProxyError as error:
            raise self._refused_by_proxy(error) from None
        except aiohttp.ConnectionTimeoutError:
            raise Passing(f"{self.url}: no connection within {CONNECT_SECONDS:g} s", nobody=True) from None
        except TimeoutError:
            raise Passing(f"{self.url}: no answer within {self._timeout:g} s (`request_timeout`)") from None
        except aiohttp.ClientConnectorError as error:
            told = str(error).replace(" ssl:default", "")  # it says so of addresses without TLS, too
            raise Passing(f"{self.url}: {told}", nobody=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Passing(f"{self.url}: {type(error).__name__}: {error}") from None

    def _refused_by_proxy(self, error: aiohttp.ClientHttpProxyError) -> EvalrunError:
        text = f"{self.url}: the proxy refused: HTTP {error.status}: {error.message}"
        if error.status == PROXY_UNAUTHORIZED:
            return PairError(f"{text}; {PROXY_REMEDY}")
        return Passing(text)

    def _connect(self) -> aiohttp.ClientSession:
        """One pool of connections, which are kept: whoever asks says how many requests there are at once."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trusted if self._trusted is not None else True)
        cookies = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers, cookie_jar=cookies)


async def whole(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer. Raises SampleError where it is too large."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        check_size(size)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def check_size(size: int) -> None:
    """Raise SampleError for an answer of more bytes than anything is kept of."""
    if size > LARGEST_ANSWER:
        raise SampleError(f"the endpoint answered more than {LARGEST_ANSWER // 1_000_000} MB; nothing of it is kept")


def _encoded(body: Mapping[str, Any]) -> bytes:
    """Raises SampleError for what JSON cannot hold."""
    import json

    import orjson

    try:
        return orjson.dumps(body)
    except TypeError:  # numbers beyond 64 bits, half a character
        pass
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise SampleError(f"what was to be sent is no JSON: {error}") from None


def _headers(added: Mapping[str, str], key: str | None) -> dict[str, str]:
    """The headers of each request. Raises PairError for a value that no header can have; it may be secret."""
    ours = {"Content-Type": "application/json"}
    if key:
        ours["Authorization"] = f"Bearer {key.strip()}"  # a file that a variable was read from ends with a newline
    given = {name.lower() for name in added}
    headers = {name: value for name, value in ours.items() if name.lower() not in given} | dict(added)
    for name, value in headers.items():
        if not value.isprintable():
            what = f"headers.{name}" if name in added else "`api_key`"
            raise PairError(
                f"{what}: found a value with characters that no header can have; accepted: one line of text"
            )
    return headers


def _trusted(verify: str | None, root: str) -> ssl.SSLContext | None:
    """Trust those of a file besides those that this machine trusts; None: these alone."""
    if verify is None:
        return None
    path = os.path.join(root, os.path.expanduser(verify))  # noqa: PTH111, PTH118 - as the suite writes it
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise PairError(f"verify: {path}: no certificates can be read there: {error}; accepted: a PEM file") from None
    return context


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment names for this URL, looked up once and not for each request."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.hostname in LOOPBACK or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
