"""``--eval-notify``: how it is read, and how it may be shown and written down. Without it nothing is imported."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

FLAG = "--eval-notify"
INI = "eval_notify="


def url(value: str) -> str:
    """Take a value of the command line. A path behind the option would be one; anything else may be a secret."""
    if "://" in value or "${" in value:
        return value
    if os.path.lexists(value.partition("::")[0]):
        raise ArgumentTypeError(f"{value!r} is a path, and no URL; give paths before this option")
    raise ArgumentTypeError(
        "what follows it is no URL; accepted: SCHEME://…, or nothing: give paths before this option"
    )


def urls_of(config: pytest.Config, dest: str) -> list[str] | None:
    """Where messages go: to those given, and where one is given without a value to those of the ini key.

    None where the option is not given, whatever the ini key says.
    """
    given: list[str | None] | None = config.getoption(dest)
    if given is None:
        return None
    own: Any = config.getini(dest) if None in given else []
    return [*own, *(one for one in given if one is not None)]


def shown_urls(urls: Iterable[str]) -> str:
    from pytest_evalrun.notify.addresses import shown

    return " ".join(map(shown, urls))


def written_argv() -> list[str]:
    """The command line as it may be written down: without what is secret in the addresses of messages."""
    if not any(word.startswith(FLAG) or INI in word for word in sys.argv):
        return sys.argv
    from pytest_evalrun.notify.addresses import shown_words

    return shown_words(sys.argv)
