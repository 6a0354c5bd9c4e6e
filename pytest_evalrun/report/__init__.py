"""From results to tables and summaries."""

from __future__ import annotations
