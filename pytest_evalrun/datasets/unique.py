"""A check for ids that repeat which keeps none: five million in a set are 440 MB, here they cost a bitmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterable

SMALLEST_BITMAP = 1 << 12
LARGEST_BITMAP = 1 << 24


class Repeats:
    """A Bloom filter over the ids of one pass; what it suspects is confirmed or cleared by a second pass.

    The suspects are well under one in a hundred of five million ids; the bitmap never exceeds 16 MB.
    """

    def __init__(self, expected_bytes: int) -> None:
        """``expected_bytes``: the size of the file that holds the ids; the bitmap is scaled with it."""
        size = min(max(expected_bytes // 4, SMALLEST_BITMAP), LARGEST_BITMAP)
        self._bits = bytearray(1 << (size - 1).bit_length())
        self._mask = len(self._bits) * 8 - 1
        self._suspects: set[int] = set()

    def add(self, ids: Iterable[str]) -> None:
        """Note the ids that come next."""
        bits, mask = self._bits, self._mask
        for value in map(hash, ids):
            first, second = value & mask, (value >> 32) & mask
            if bits[first >> 3] >> (first & 7) & 1 and bits[second >> 3] >> (second & 7) & 1:
                self._suspects.add(value)
            bits[first >> 3] |= 1 << (first & 7)
            bits[second >> 3] |= 1 << (second & 7)

    def confirm(self, again: Iterable[tuple[str, int]], where: str, unit: str = "lines") -> None:
        """Raise PairError for the first id that occurs twice; ``again`` gives each id with its place once more."""
        if not self._suspects:
            return
        seen: dict[str, int] = {}
        for sample_id, place in again:
            if hash(sample_id) not in self._suspects:
                continue
            if sample_id in seen:
                raise PairError(f"{where}: two samples with the id {sample_id!r}: {unit} {seen[sample_id]} and {place}")
            seen[sample_id] = place
