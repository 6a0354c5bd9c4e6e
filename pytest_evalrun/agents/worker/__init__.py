"""A worker of a task: its calls, the samples behind them, and what a task is given."""

from __future__ import annotations
