"""One module a kind of model."""

from __future__ import annotations
