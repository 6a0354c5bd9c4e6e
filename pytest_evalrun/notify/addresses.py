"""Where messages go: URLs as people write them, with ``${NAME}`` for what is secret, and how they may be shown."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.printable import one_line
from pytest_evalrun.suite.secrets import BLANK, expand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OPTION = "--eval-notify"
# Nothing has finished for so many minutes: people are told.
STALL_MINUTES = 30.0
# What we read of an address ourselves, whoever takes messages there.
OURS = ("stall", "start")
# Of these what they are set to is no secret.
_HARMLESS = frozenset({*OURS, "msg", "host", "keyword"})
_SECRET = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_ONLY_SECRETS = re.compile(r"(?:\$\{[A-Za-z_][A-Za-z0-9_]*\}[/@:]*)+")
# What an address stands behind in one word: -o overrides the ini key.
_SAID = re.compile(r"--eval-notify=|(-o|--override-ini=)?eval_notify=")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}")


@dataclass(frozen=True)
class Address:
    """A URL with its secrets put in, and without the words that are ours; ``shown`` is how it may be called.

    ``stall_seconds`` may be endless; with ``start`` the beginning of a run is told, too.
    """

    url: str = field(repr=False)
    shown: str
    stall_seconds: float
    start: bool

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    @property
    def place(self) -> str:
        """What stands between the scheme and the options."""
        return self.url.partition("://")[2].partition("?")[0]

    @property
    def options(self) -> dict[str, str]:
        """What stands behind the question mark; a plus is a plus."""
        return {key: unquote(value) for key, value in _options(self.url)}


def addresses_of(urls: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[Address]:
    """Read the addresses, each once. Raises ConfigError for what is none, naming variables that are not set."""
    if not urls:
        raise ConfigError(f"{OPTION}: the ini key eval_notify names no URL; set it, or give {OPTION}=URL")
    return [_address(url, environ) for url in dict.fromkeys(urls)]


def _address(url: str, environ: Mapping[str, str]) -> Address:
    told = shown(url)
    if BLANK in url:
        raise ConfigError(
            f"{OPTION}: {told}: this was blanked when it was written down; give it anew, best with ${{NAME}} in the "
            "place of what is secret"
        )
    try:
        full = _put_in(url.strip(), environ)
    except ConfigError as error:
        raise ConfigError(f"{OPTION}: {told}: {error}") from None
    scheme, colon, rest = full.partition("://")
    if not colon or not _SCHEME.fullmatch(scheme) or not rest or not full.isprintable() or " " in full:
        raise ConfigError(f"{OPTION}: {told}: this is no URL; accepted: SCHEME://…, such as lark://${{LARK_TOKEN}}")
    own = {key: unquote(value) for key, value in _options(full) if key in OURS}
    return Address(_without_ours(full), told, _stall(own.get("stall"), told), _start(own.get("start"), told))


def _put_in(url: str, environ: Mapping[str, str]) -> str:
    """Put secrets into an address: as they are where they make its place, and otherwise so that none ends its part."""

    def value(found: re.Match[str]) -> str:
        text: str = expand(found[0], environ).strip()
        inside = "?" in url[: found.start()] or url[found.end() : found.end() + 1] == "@"
        return quote(text, safe="") if inside else text

    return _SECRET.sub(value, url)


def _options(url: str) -> Iterator[tuple[str, str]]:
    for part in url.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if key:
            yield key, value


def _without_ours(url: str) -> str:
    place, _, options = url.partition("?")
    kept = "&".join(part for part in options.split("&") if part.partition("=")[0] not in OURS)
    return f"{place}?{kept}" if kept else place


def _stall(value: str | None, told: str) -> float:
    """Seconds; endless for 0."""
    if value is None:
        return STALL_MINUTES * 60
    try:
        minutes = float(value)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise ConfigError(f"{OPTION}: {told}: stall={value!r} is not accepted; accepted: minutes, 0 for never")
    return minutes * 60 or math.inf


def _start(value: str | None, told: str) -> bool:
    if value not in (None, "0", "1"):
        raise ConfigError(f"{OPTION}: {told}: start={value!r} is not accepted; accepted: 1, 0")
    return value == "1"


# ------------------------------------------------------------------ as they may be shown


def shown(url: str) -> str:
    """The address for people, and for files: what may be secret is blanked, names of variables stay."""
    scheme, colon, rest = url.strip().partition("://")
    if not colon:
        return url if _ONLY_SECRETS.fullmatch(url) else BLANK
    place, question, options = rest.partition("?")
    place = place if _ONLY_SECRETS.fullmatch(place) else BLANK
    scheme = scheme if _SCHEME.fullmatch(scheme) else BLANK
    return one_line(f"{scheme}://{place}{question}{'&'.join(map(_shown_option, options.split('&')))}")


def _shown_option(part: str) -> str:
    key, sign, value = part.partition("=")
    if key in _HARMLESS or (sign and _ONLY_SECRETS.fullmatch(value)) or not part:
        return part
    return f"{key}={BLANK}" if sign and _SCHEME.fullmatch(key) else BLANK


def shown_words(argv: Sequence[str]) -> list[str]:
    """The words of a command line with its addresses as they may be shown."""
    words = []
    follows = False
    for word in argv:
        found = _SAID.match(word)
        if found:
            words.append(f"{found[0]}{' '.join(map(shown, word[found.end() :].split()))}")
        else:
            words.append(shown(word) if follows and not word.startswith("-") else word)
        follows = word == OPTION
    return words
