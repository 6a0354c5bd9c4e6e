"""One module a family of metrics."""

from __future__ import annotations
