"""What to run next, on which worker, and what that will take: pure arithmetic over expected seconds and slots."""

from __future__ import annotations
