"""One POST of JSON, and the JSON that it is answered with: TLS is verified, proxies are asked, nothing is followed."""

from __future__ import annotations

import os
import ssl
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from pytest_evalrun.notify.protocol import NotSent
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from typing import IO

# This machine, which no proxy reaches.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LARGEST_ANSWER = 65_536
LEAST_SECONDS = 0.05


class _Unmoved(HTTPRedirectHandler):
    """What we send is for whom it was sent to, and for nobody that he names."""

    def redirect_request(
        self,
        req: Request,  # noqa: ARG002 - the names are those of the base
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> Request | None:
        return None


def post(url: str, body: bytes, until: float) -> tuple[int, Any]:
    """The status of the answer, and what it says, None where that is no JSON. Raises NotSent where there is none.

    No text of an error is shown as it is: it may hold the URL, and that what is secret.
    """
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "pytest-evalrun"}
    seconds = max(LEAST_SECONDS, until - time.monotonic())
    try:
        request = Request(url, body, headers)  # noqa: S310 - https, or http on this machine: whoever asks has looked
        with _opener(url).open(request, timeout=seconds) as answer:
            return answer.status, _read(answer.read(LARGEST_ANSWER))
    except HTTPError as error:
        with error:
            if 300 <= error.code < 400:
                raise NotSent(f"it answers with another address (HTTP {error.code}), and none is followed") from None
            return error.code, _read(_rest_of(error))
    except (OSError, HTTPException, ValueError) as error:
        raise NotSent(_why(error)) from None


def _opener(url: str) -> OpenerDirector:
    here = urlsplit(url).hostname in LOOPBACK
    return build_opener(_Unmoved, *([ProxyHandler({})] if here else []))


def _rest_of(error: HTTPError) -> bytes:
    try:
        return error.read(LARGEST_ANSWER)
    except (OSError, HTTPException):
        return b""


def _read(text: bytes) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return None


def _why(error: BaseException) -> str:
    """Say why there is no answer, by what kind of error it is."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "it has not answered in time"
    if isinstance(error, ssl.SSLError):
        return "its certificate is not trusted here, or TLS fails; SSL_CERT_FILE may name certificates to trust"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return f"it cannot be reached: {os.strerror(error.errno)}"
    if isinstance(error, OSError | HTTPException):
        return f"it cannot be reached, or has broken off ({type(error).__name__})"
    return "its address cannot be used for a request"
