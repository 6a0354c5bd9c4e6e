"""When an endpoint wants to be asked again, in all the forms in which endpoints say so."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Headers that say when a limit is lifted; of several the latest counts.
RESETS = (
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset",
    "ratelimit-reset",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-reset",
)
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = r"(\d+(?:\.\d+)?)(d|h|ms|m|s|us|µs|ns)"
_DURATION = re.compile(rf"(?:{_PART})+")
# From here on a number is a moment since 1970: in seconds, and in milliseconds.
_MOMENT, _MOMENT_MS = 1e9, 1e12


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds until the endpoint wants to be asked again, from the names of headers in lower case; None without a word.

    ``retry-after-ms`` and ``retry-after`` (seconds or a date) come before the latest of the resets of its limits. A
    date is compared with the endpoint's own clock where it tells it, which need not be ours.
    """
    here = now or _date(headers.get("date", "")) or datetime.now(UTC)
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    if (told := _seconds(headers.get("retry-after", ""), here)) is not None:
        return told
    resets = [_seconds(headers[name], here) for name in RESETS if name in headers]
    return max((seconds for seconds in resets if seconds is not None), default=None)


def _seconds(text: str, now: datetime) -> float | None:
    text = text.strip()
    number = _number(text)
    if number is not None and number >= _MOMENT:
        return max(0.0, number / (1000 if number >= _MOMENT_MS else 1) - now.timestamp())
    if number is not None:
        return number
    if _DURATION.fullmatch(text):
        return math.fsum(float(count) * _UNITS[unit] for count, unit in re.findall(_PART, text))
    moment = _date(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str) -> datetime | None:
    """Read a date of HTTP, or of ISO 8601; without a zone it is in UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
        except (ValueError, TypeError, OverflowError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None
