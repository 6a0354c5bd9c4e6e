"""Task servers that are started and kept running: by a command, or for a launch."""

from __future__ import annotations
