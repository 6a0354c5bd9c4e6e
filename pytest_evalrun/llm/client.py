"""The client of an OpenAI-compatible endpoint: requests run in one thread, however many are under way."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pytest_evalrun.adapters.eventloop import LoopThread, give_back_thread, take_thread
from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.llm.refusals import PROXY_REMEDY, PROXY_UNAUTHORIZED, Passing, error_in, refused
from pytest_evalrun.llm.streaming import StreamedReply
from pytest_evalrun.llm.wire import PATHS, Reply, is_same_model, read_reply
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    import aiohttp

    from pytest_evalrun.llm.settings import EndpointSettings

# This machine, which no proxy reaches.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LARGEST_ANSWER = 10_000_000
CONNECT_SECONDS = 30.0
# Waiting for connections to close, and at the end of a pair for what is under way, is nobody's business for longer.
CLOSE_SECONDS = 5.0


class Client:
    """Asks one endpoint. It is made by whoever loads a model, used for all of its pairs, and closed with it."""

    def __init__(self, endpoint: EndpointSettings, base_url: str, key: str | None = None, root: str = "") -> None:
        """``key`` is what the variable of ``api_key`` holds; ``verify`` is relative to ``root``.

        Raises PairError where ``verify`` names no certificates.
        """
        self._endpoint = replace(endpoint, base_url=base_url)
        place, mark, query = base_url.partition("?")
        self._url = f"{place.rstrip('/')}{PATHS[endpoint.api]}{mark}{query}"
        self._headers = _headers(endpoint.headers, key)
        self._trusted = _trusted(endpoint.verify, root)
        self._proxy = endpoint.proxy or _proxy_of(base_url)
        self._session: aiohttp.ClientSession | None = None
        self._thread: LoopThread | None = None
        self._pid = 0
        # Of the thread's own: what it is at for this client.
        self._tasks: set[asyncio.Task[Any]] = set()

    def ask(self, body: Mapping[str, Any], attempts: int = 1, *, any_message: bool = False) -> Future[Reply]:
        """Send a request; ``attempts`` counts it and those for the same sample before.

        Of ``any_message`` the answer need have no text: calls of tools, or nothing.

        The future's error is Passing where it is worth asking again, SampleError where it is not, and PairError where
        the endpoint cannot be asked at all. Cancelling the future ends the request.
        """
        if self._thread is None or self._pid != os.getpid():
            self._thread, self._session, self._pid, self._tasks = take_thread(), None, os.getpid(), set()
        return self._thread.submit(self._noted(body, attempts, any_message))

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

    async def _noted(self, body: Mapping[str, Any], attempts: int, any_message: bool) -> Reply:
        task = asyncio.current_task()
        assert task is not None, "run_coroutine_threadsafe makes one"
        self._tasks.add(task)
        try:
            return await self._ask(body, attempts, any_message)
        finally:
            self._tasks.discard(task)

    async def _ask(self, body: Mapping[str, Any], attempts: int, any_message: bool) -> Reply:
        import aiohttp

        if self._session is None:
            self._session = self._connect()
        started = time.perf_counter()
        try:
            sent = self._session.post(self._url, data=_encoded(body), proxy=self._proxy, allow_redirects=False)
            async with sent as response:
                reply = await self._read(response, started, body.get("model"), any_message)
        except aiohttp.ClientConnectorCertificateError as error:
            raise PairError(
                f"{self._url}: {error.certificate_error}; accepted: `verify: FILE` of who signed it"
            ) from None
        except aiohttp.InvalidURL as error:
            raise PairError(f"{self._url}: no URL: {error}") from None
        except aiohttp.ClientHttpProxyError as error:
            raise self._refused_by_proxy(error) from None
        except aiohttp.ConnectionTimeoutError:
            raise Passing(f"{self._url}: no connection within {CONNECT_SECONDS:g} s", nobody=True) from None
        except TimeoutError:
            seconds = self._endpoint.request_timeout
            raise Passing(f"{self._url}: no answer within {seconds:g} s (`request_timeout`)") from None
        except aiohttp.ClientConnectorError as error:
            raise Passing(f"{self._url}: {error}", nobody=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Passing(f"{self._url}: {type(error).__name__}: {error}") from None
        self._check_model(body.get("model"), reply.model)
        return replace(reply, seconds=time.perf_counter() - started, attempts=attempts)

    def _refused_by_proxy(self, error: aiohttp.ClientHttpProxyError) -> EvalrunError:
        text = f"{self._url}: the proxy refused: HTTP {error.status}: {error.message}"
        if error.status == PROXY_UNAUTHORIZED:
            return PairError(f"{text}; {PROXY_REMEDY}")
        return Passing(text)

    def _connect(self) -> aiohttp.ClientSession:
        """One pool of connections, which are kept: whoever asks says how many requests there are at once."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._endpoint.request_timeout, sock_connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trusted if self._trusted is not None else True)
        cookies = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers, cookie_jar=cookies)

    async def _read(
        self, response: aiohttp.ClientResponse, started: float, model: str | None, any_message: bool
    ) -> Reply:
        streamed = response.status == 200 and response.content_type == "text/event-stream"
        if streamed:
            reply = await self._read_stream(response, started, any_message)
        else:
            data = await _whole(response)
            if response.status != 200:
                headers = {name.lower(): value for name, value in response.headers.items()}
                raise refused(response.status, headers, data, replace(self._endpoint, model=model))
            reply = self._parse(data, any_message)
        request_id = response.headers.get("x-request-id")
        return replace(reply, request_id=request_id) if request_id else reply

    def _parse(self, data: bytes, any_message: bool) -> Reply:
        try:
            payload = parse_json(data)
        except ValueError:
            raise Passing(f"{self._url}: the answer is no JSON: {data[:200].decode(errors='replace')!r}") from None
        if (error := error_in(payload, self._endpoint)) is not None:
            raise error
        return read_reply(payload, any_message=any_message)

    async def _read_stream(self, response: aiohttp.ClientResponse, started: float, any_message: bool) -> Reply:
        streamed = StreamedReply()
        async for chunk in response.content.iter_any():
            for payload in streamed.feed(chunk):
                if (error := error_in(payload, self._endpoint)) is not None:
                    raise error
            _check_size(streamed.size)
            if streamed.ttft is None and streamed.has_begun:
                streamed.ttft = time.perf_counter() - started
        if not streamed.is_whole:
            raise Passing(f"{self._url}: the stream ended before the answer did")
        return streamed.reply(any_message=any_message)

    def _check_model(self, asked: str | None, answered: str | None) -> None:
        """Raise PairError where another model answered than the one that was asked for."""
        if asked and answered and not self._endpoint.served_as and not is_same_model(asked, answered):
            raise PairError(
                f"{self._url}: the model {asked!r} was asked for, and {answered!r} answered; accepted: "
                f"`model: {answered}`, or `served_as: NAME` for an endpoint that calls its model otherwise"
            )


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        _check_size(size)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _check_size(size: int) -> None:
    if size > LARGEST_ANSWER:
        raise SampleError(f"the endpoint answered more than {LARGEST_ANSWER // 1_000_000} MB; nothing of it is kept")


def _encoded(body: Mapping[str, Any]) -> bytes:
    import json

    import orjson

    try:
        return orjson.dumps(body)
    except TypeError:  # numbers beyond 64 bits, half a character
        return json.dumps(body, allow_nan=False).encode()


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
