"""Leased resources: GPUs that are found, what is asked of them, and the locks that say who has one."""

from __future__ import annotations
