"""The client of an OpenAI-compatible endpoint."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.refusals import Passing, Remedies, error_in, refused
from pytest_evalrun.llm.streaming import StreamedReply
from pytest_evalrun.llm.transport import Transport, check_size, whole
from pytest_evalrun.llm.wire import PATHS, Reply, is_same_model, read_reply
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    import aiohttp

    from pytest_evalrun.llm.settings import EndpointSettings


class Client:
    """Asks one endpoint. It is made by whoever loads a model, used for all of its pairs, and closed with it."""

    def __init__(self, endpoint: EndpointSettings, base_url: str, key: str | None = None, root: str = "") -> None:
        """``key`` is what the variable of ``api_key`` holds; ``verify`` is relative to ``root``.

        Raises PairError where ``verify`` names no certificates.
        """
        self._endpoint = replace(endpoint, base_url=base_url)
        self._remedies = Remedies.of_endpoint(self._endpoint)
        place, mark, query = base_url.partition("?")
        self._url = f"{place.rstrip('/')}{PATHS[endpoint.api]}{mark}{query}"
        self._transport = Transport(
            self._url,
            endpoint.headers,
            key=key,
            verify=endpoint.verify,
            root=root,
            proxy=endpoint.proxy,
            timeout=endpoint.request_timeout,
        )

    def ask(self, body: Mapping[str, Any], attempts: int = 1, *, any_message: bool = False) -> Future[Reply]:
        """Send a request; ``attempts`` counts it and those for the same sample before.

        Of ``any_message`` the answer need have no text: calls of tools, or nothing. The future's error is Passing
        where it is worth asking again, SampleError where it is not, and PairError where the endpoint cannot be asked
        at all. Cancelling the future ends the request.
        """
        answered = partial(self._answered, asked=body.get("model"), attempts=attempts, any_message=any_message)
        return self._transport.post(body, answered)

    def close(self) -> None:
        """End what is under way, and close the connections."""
        self._transport.close()

    async def _answered(
        self, response: aiohttp.ClientResponse, started: float, *, asked: str | None, attempts: int, any_message: bool
    ) -> Reply:
        if response.status == 200 and response.content_type == "text/event-stream":
            reply = (await self._streamed(response, started)).reply(any_message=any_message)
        else:
            data = await whole(response)
            if response.status != 200:
                headers = {name.lower(): value for name, value in response.headers.items()}
                remedies = Remedies.of_endpoint(replace(self._endpoint, model=asked))
                raise refused(response.status, headers, data, remedies)
            reply = read_reply(self._parse(data), any_message=any_message)
        self._check_model(asked, reply.model)
        request_id = response.headers.get("x-request-id") or reply.request_id
        return replace(reply, request_id=request_id, seconds=time.perf_counter() - started, attempts=attempts)

    def _parse(self, data: bytes) -> Any:
        try:
            payload = parse_json(data)
        except ValueError:
            raise Passing(f"{self._url}: the answer is no JSON: {data[:200].decode(errors='replace')!r}") from None
        if (error := error_in(payload, self._remedies)) is not None:
            raise error
        return payload

    async def _streamed(self, response: aiohttp.ClientResponse, started: float) -> StreamedReply:
        streamed = StreamedReply()
        async for chunk in response.content.iter_any():
            for payload in streamed.feed(chunk):
                if (error := error_in(payload, self._remedies)) is not None:
                    raise error
            check_size(streamed.size)
            if streamed.ttft is None and streamed.has_begun:
                streamed.ttft = time.perf_counter() - started
        if not streamed.is_whole:
            raise Passing(f"{self._url}: the stream ended before the answer did")
        return streamed

    def _check_model(self, asked: str | None, answered: str | None) -> None:
        """Raise PairError where another model answered than the one that was asked for."""
        if asked and answered and not self._endpoint.served_as and not is_same_model(asked, answered):
            raise PairError(
                f"{self._url}: the model {asked!r} was asked for, and {answered!r} answered; accepted: "
                f"`model: {answered}`, or `served_as: NAME` for an endpoint that calls its model otherwise"
            )
