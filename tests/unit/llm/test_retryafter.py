"""Every form in which endpoints say when to come back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pytest_evalrun.llm.retryafter import retry_after

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)

FORMS = {
    "seconds": ({"retry-after": "2"}, 2.0),
    "part of a second": ({"retry-after": "0.25"}, 0.25),
    "at once": ({"retry-after": "0"}, 0.0),
    "blanks around": ({"retry-after": " 7 "}, 7.0),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds come first": ({"retry-after-ms": "300", "retry-after": "1"}, 0.3),
    "date of HTTP": ({"retry-after": "Sat, 28 Nov 2026 12:00:05 GMT"}, 5.0),
    "date of RFC 850": ({"retry-after": "Saturday, 28-Nov-26 12:00:06 GMT"}, 6.0),
    "date of asctime": ({"retry-after": "Sat Nov 28 12:00:07 2026"}, 7.0),
    "date with a zone": ({"retry-after": "Sat, 28 Nov 2026 13:00:08 +0100"}, 8.0),
    "date that has passed": ({"retry-after": "Sat, 28 Nov 2026 11:00:00 GMT"}, 0.0),
    "moment in seconds": ({"retry-after": str(NOW.timestamp() + 9)}, 9.0),
    "duration": ({"retry-after": "1m30s"}, 90.0),
    "reset of requests": ({"x-ratelimit-reset-requests": "1m30s"}, 90.0),
    "reset of tokens": ({"x-ratelimit-reset-tokens": "500ms"}, 0.5),
    "hours": ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
    "days": ({"x-ratelimit-reset-requests": "1d"}, 86_400.0),
    "largest of both": ({"x-ratelimit-reset-requests": "8.64s", "x-ratelimit-reset-tokens": "6ms"}, 8.64),
    "one cannot be read": ({"x-ratelimit-reset-requests": "soon", "x-ratelimit-reset-tokens": "6s"}, 6.0),
    "plain seconds": ({"x-ratelimit-reset-requests": "7.66"}, 7.66),
    "ISO 8601": ({"x-ratelimit-reset-requests": "2026-11-28T12:00:10Z"}, 10.0),
    "ISO 8601 of another vendor": ({"anthropic-ratelimit-tokens-reset": "2026-11-28T12:00:11+00:00"}, 11.0),
    "moment in milliseconds": ({"x-ratelimit-reset": str(int(NOW.timestamp() * 1000) + 12_000)}, 12.0),
    "what it says itself comes before resets": ({"retry-after": "1", "x-ratelimit-reset-tokens": "1m"}, 1.0),
    "nonsense before a reset": ({"retry-after": "later", "x-ratelimit-reset-tokens": "2s"}, 2.0),
}
NOTHING = ("", "soon", "-3", "nan", "inf", "1x", "5 parsecs", "Sat, 99 Nov 2026 12:00:05 GMT", "9" * 400)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read(form):
    """Every form of a time to come back is read, in seconds."""
    headers, seconds = FORMS[form]

    assert retry_after(headers, NOW) == pytest.approx(seconds, abs=1e-3)


@pytest.mark.parametrize("text", NOTHING, ids=lambda text: text[:20] or "empty")
def test_nonsense_is_no_time(text):
    """What cannot be read says nothing, and hurts nobody."""
    assert retry_after({"retry-after": text, "retry-after-ms": text, "x-ratelimit-reset-tokens": text}, NOW) is None


def test_nothing_said():
    """Without a header there is no time."""
    assert retry_after({}) is None


def test_a_date_is_compared_with_the_clock_of_whoever_says_it():
    """A server whose clock is a year behind still means five seconds."""
    headers = {"date": "Fri, 28 Nov 2025 12:00:00 GMT", "retry-after": "Fri, 28 Nov 2025 12:00:05 GMT"}

    assert retry_after(headers) == 5.0
