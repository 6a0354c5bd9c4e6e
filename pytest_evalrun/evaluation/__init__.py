"""The life of one item: reuse? predict, score, mark."""

from __future__ import annotations
