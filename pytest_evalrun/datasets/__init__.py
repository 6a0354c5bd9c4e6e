"""One module a kind of data."""

from __future__ import annotations
