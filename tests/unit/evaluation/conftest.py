"""A small suite and the worker's side that evaluates it, as in every room that works on pairs."""

from __future__ import annotations

from workshop import context, evaluator, shop

__all__ = ["context", "evaluator", "shop"]
