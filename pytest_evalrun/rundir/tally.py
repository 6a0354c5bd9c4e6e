"""Which answers of a pair are there, as bits, so that memory hardly grows with the samples."""

from __future__ import annotations

# So many places of a sparse tally are kept together.
PART_BITS = 16


class Tally:
    """Which answers a sequence of lines has, by their places: two bits each, and whether the lines are in order.

    There are ``count`` of them: of each sample as many as there are ``generations``, so that usually a place is the
    sample's own.
    """

    __slots__ = ("_last", "_ok", "_seen", "count", "done_count", "generations", "in_order", "seen_count")

    def __init__(self, count: int, generations: int = 1) -> None:
        self.count = count
        self.generations = generations
        self.done_count = 0
        self.seen_count = 0
        self.in_order = True
        self._ok = bytearray((count + 7) // 8)
        self._seen = bytearray((count + 7) // 8)
        self._last = -1

    @property
    def failed_count(self) -> int:
        return self.seen_count - self.done_count

    def is_done(self, place: int) -> bool:
        """Whether the last line of this place is ok; one that failed is to be asked again."""
        if not 0 <= place < self.count:
            raise IndexError(f"answer {place} of {self.count}")
        return bool(self._ok[place >> 3] & 1 << (place & 7))

    def is_seen(self, place: int) -> bool:
        """Whether there is any line of this place, one that failed included."""
        return bool(self._seen[place >> 3] & 1 << (place & 7))

    def note(self, place: int, ok: bool) -> None:
        """Take the next line of the file into account."""
        self.in_order = self.in_order and place > self._last
        self._last = place
        byte, bit = place >> 3, 1 << (place & 7)
        self.done_count += ok - bool(self._ok[byte] & bit)
        self.seen_count += not self._seen[byte] & bit
        self._seen[byte] |= bit
        self._ok[byte] = self._ok[byte] | bit if ok else self._ok[byte] & ~bit

    def forget(self, place: int) -> None:
        """The next line of the file is of no use, nor are those of its place before."""
        byte, bit = place >> 3, 1 << (place & 7)
        self.done_count -= bool(self._ok[byte] & bit)
        self.seen_count -= bool(self._seen[byte] & bit)
        self._ok[byte] &= ~bit
        self._seen[byte] &= ~bit
        self.in_order = False


class SparseTally:
    """The same of places of which nobody knows how many there are: a part of it is made where one has a line."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[int, Tally] = {}

    def is_done(self, place: int) -> bool:
        part = self._parts.get(place >> PART_BITS)
        return part is not None and part.is_done(place % (1 << PART_BITS))

    def is_seen(self, place: int) -> bool:
        part = self._parts.get(place >> PART_BITS)
        return part is not None and part.is_seen(place % (1 << PART_BITS))

    def note(self, place: int, ok: bool) -> None:
        if (part := self._parts.get(place >> PART_BITS)) is None:
            part = self._parts[place >> PART_BITS] = Tally(1 << PART_BITS)
        part.note(place % (1 << PART_BITS), ok)
