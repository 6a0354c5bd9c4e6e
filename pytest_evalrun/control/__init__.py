"""To live with a run: stop it, reset it, clean it."""

from __future__ import annotations
