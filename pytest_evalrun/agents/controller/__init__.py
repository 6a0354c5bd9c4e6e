"""The controller of a task server: what it knows, what it keeps, and what it answers."""

from __future__ import annotations
