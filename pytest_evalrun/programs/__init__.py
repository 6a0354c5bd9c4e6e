"""Programs as models: what they are told, how they are run, and how their results are read; docs/command.md."""

from __future__ import annotations
