"""Tasks as suites and configurations define them, and their samples."""

from __future__ import annotations
