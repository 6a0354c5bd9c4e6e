"""Model evaluation as tests: every model x dataset pair is a pytest item."""

from __future__ import annotations
