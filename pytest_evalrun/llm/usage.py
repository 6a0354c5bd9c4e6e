"""Tokens that were paid for, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Prices are per so many tokens.
PRICED = 1_000_000


@dataclass(frozen=True)
class Usage:
    """Tokens of prompts, of answers, and how many of the prompts' the endpoint had in its cache."""

    input: int = 0
    output: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output, self.cached + other.cached)

    def cost(self, price: Mapping[str, Any]) -> float | None:
        """Tell what they cost at prices per 1,000,000 tokens; None where there is no price."""
        if "input" not in price and "output" not in price:
            return None
        fresh = price.get("input", 0.0)
        total = (self.input - self.cached) * fresh + self.cached * price.get("cached", fresh)
        return float(total + self.output * price.get("output", 0.0)) / PRICED

    def to_json(self) -> dict[str, int]:
        return {"input": self.input, "output": self.output, "cached": self.cached}

    @classmethod
    def from_json(cls, told: Any) -> Usage | None:
        """Read what an endpoint, or a line of ours, says; None where it says nothing that can be counted."""
        if not isinstance(told, dict):
            return None
        details = told.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else told.get("cached")
        counts = [
            told.get("prompt_tokens", told.get("input")),
            told.get("completion_tokens", told.get("output")),
            cached,
        ]
        if counts[0] is None and counts[1] is None:
            return None
        fresh, written, cached = (count if type(count) is int and count >= 0 else 0 for count in counts)
        return cls(fresh, written, min(cached, fresh))
