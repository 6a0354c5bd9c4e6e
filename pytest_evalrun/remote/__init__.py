"""Boards over SSH: connections that are kept, programs that end with them, files that arrive whole."""

from __future__ import annotations
