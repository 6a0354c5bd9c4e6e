"""Watching a run from outside: it reads the run directory and nothing else, and writes nothing there."""

from __future__ import annotations

from pytest_evalrun.monitor.command import monitor

__all__ = ["monitor"]
