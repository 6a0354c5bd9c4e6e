"""Who may have how many of the places of an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def divide(limit: int, wants: Sequence[int]) -> list[int]:
    """Divide ``limit`` places among as many as there are ``wants``, in the order of precedence.

    Each gets what all get, or what it wants where that is less; what is left over is everybody's. So the shares add
    up to the limit, whoever wants how much. Where there are fewer places than members, the first have one each.
    """
    shares = [0] * len(wants)
    left = _fill(shares, limit, wants)
    if left and shares:
        _fill(shares, left, [limit] * len(wants))
    return shares


def _fill(shares: list[int], left: int, wants: Sequence[int]) -> int:
    """Raise shares towards what is wanted, all alike; what nobody wants is returned."""
    while left and (lacking := [place for place, share in enumerate(shares) if share < wants[place]]):
        each = max(1, left // len(lacking))
        for place in lacking:
            more = min(each, wants[place] - shares[place], left)
            shares[place] += more
            left -= more
    return left
