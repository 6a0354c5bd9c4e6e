"""The ``evalrun`` command: what shows (``show``), what acts (``control``), and the words that both share."""

from __future__ import annotations

from pytest_evalrun.cli.show import app, main

__all__ = ["app", "main"]
