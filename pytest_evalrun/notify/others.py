"""Everybody else: more than a hundred services and plain JSON, by apprise, which is only imported where one is used."""

from __future__ import annotations

import difflib
import logging
import threading
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.notify.addresses import OPTION
from pytest_evalrun.notify.lark import HOOK, HOSTS, plain
from pytest_evalrun.notify.protocol import NotSent, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.notify.addresses import Address
    from pytest_evalrun.notify.protocol import Message

OURS = (*HOSTS, *(f"{host}{HOOK}TOKEN" for host in HOSTS.values()))
LONGEST_LINE = 1000
TYPES = {"info": "info", "good": "success", "warning": "warning", "bad": "failure"}
# Some services are written to once in 5 s at most, if apprise has its way; a run has a handful of messages.
MOST_WAIT = 0.5
# All of what is sent stands in what these log.
TALKATIVE = ("apprise", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry", "requests")

_thread = threading.local()


class Apprised:
    """One address that apprise knows."""

    def __init__(self, address: Address) -> None:
        """Raises ConfigError where apprise is missing, or knows no such address."""
        if find_spec("apprise") is None:
            raise ConfigError(
                f"{OPTION}: {address.shown}: scheme {address.scheme!r} needs apprise: "
                f"pip install pytest-evalrun[notify]; accepted without it: {', '.join(OURS)}"
            )
        self._service = _service_of(address)

    def send(self, message: Message, until: float) -> None:  # noqa: ARG002 - whoever calls waits no longer
        """Raises NotSent; apprise says of a failure no more than that it is one."""
        body = "\n".join(line for fact in message.facts for line in plain(fact, lambda text: cut(text, LONGEST_LINE)))
        with _quiet():
            sent = self._service.notify(
                title=message.title, body=body, notify_type=TYPES[message.level], body_format="text"
            )
        if not sent:
            raise NotSent("apprise could not send it: the service cannot be reached, or refuses it")


def _service_of(address: Address) -> Any:
    """What apprise makes of an address, ready to be asked from any thread."""
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # what a library warns of while it is imported is nobody's business here
        from apprise import Apprise, AppriseAsset

        # With a limit of its own it would hand messages to threads for which Python waits before it ends.
        own: dict[str, Any] = {"service_timeout": 0} if "service_timeout" in signature(AppriseAsset).parameters else {}
        asset: Any = AppriseAsset(async_mode=False, storage_mode="memory", **own)
        service: Any = Apprise.instantiate(address.url, asset=asset)
        if service is None:
            raise _unknown(address, set(_schemes(Apprise)))
        service.request_rate_per_sec = min(service.request_rate_per_sec, MOST_WAIT)
        services = Apprise(asset=asset)
        services.add(service)
    return services


def _schemes(apprise: Any) -> Iterator[str]:
    for service in apprise().details()["schemas"]:
        yield from service["protocols"] or ()
        yield from service["secure_protocols"] or ()


def _unknown(address: Address, schemes: set[str]) -> ConfigError:
    scheme = address.scheme
    if scheme in schemes:
        return ConfigError(f"{OPTION}: {address.shown}: apprise finds no {scheme}:// address in it; a part is missing")
    if scheme in ("http", "https"):
        return ConfigError(
            f"{OPTION}: {address.shown}: no service is known by this web address; accepted: {', '.join(OURS)}, those "
            "that apprise knows, and jsons://HOST/PATH (json:// without TLS) for a server that takes JSON"
        )
    known = sorted(schemes.union(HOSTS))
    near = difflib.get_close_matches(scheme, known, n=3)
    nearest = f"nearest: {', '.join(near)}; " if near else ""
    accepted = ", ".join([*OURS[len(HOSTS) :], *known])
    return ConfigError(f"{OPTION}: {address.shown}: unknown scheme {scheme!r}; {nearest}accepted: {accepted}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what libraries log in this thread meanwhile: addresses stand in it, and so would in reports."""
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(_is_of_others)  # once: it stays, and looks who is logging
    _thread.is_ours = True
    try:
        yield
    finally:
        _thread.is_ours = False


def _is_of_others(_: logging.LogRecord) -> bool:
    return not getattr(_thread, "is_ours", False)
