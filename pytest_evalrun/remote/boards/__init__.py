"""Many boards: something done on all of them at once, how they stand, and those of a launch from start to end."""

from __future__ import annotations
