"""Names of suites, tasks and datasets: which are refused, and what their files are called."""

from __future__ import annotations


def safe_name(name: str) -> str:
    """The name as one file name: ``/`` becomes ``_``, NFC, at most 100 bytes (a hash is appended to what is longer)."""
    raise NotImplementedError
