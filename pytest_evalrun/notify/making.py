"""Addresses → who takes messages there, all of them before anything runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.notify.addresses import OPTION, addresses_of
from pytest_evalrun.notify.lark import LarkBot, takes
from pytest_evalrun.suite.secrets import expand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.notify.addresses import Address
    from pytest_evalrun.notify.protocol import Notifier


@dataclass(frozen=True)
class Recipient:
    """An address, and who takes messages there."""

    address: Address
    notifier: Notifier


def recipients_of(urls: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[Recipient]:
    """Raises ConfigError for the first address with which nothing can be done, and says what is accepted."""
    return [Recipient(address, _notifier(address)) for address in addresses_of(urls, environ)]


def link_of(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """The link that messages have, with its variables put in. Raises ConfigError for one that is not set."""
    try:
        return str(expand(text, environ))
    except ConfigError as error:
        raise ConfigError(f"{OPTION}-link: {error}") from None


def _notifier(address: Address) -> Notifier:
    if takes(address):
        return LarkBot.of(address)
    from pytest_evalrun.notify.others import Apprised

    return Apprised(address)
