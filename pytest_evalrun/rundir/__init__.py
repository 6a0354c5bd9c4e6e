"""The run directory: every file format has one owner here."""

from __future__ import annotations
