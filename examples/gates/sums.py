"""Models of which it is known how good they are, for a look at what gates can tell; and what they are asked."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.protocol import Sample

SEED = 41


class Adder:
    """Adds, and is wrong in a share ``wrong`` of all questions.

    From release 2 on it is right in a share ``mended`` that it had wrong before, and wrong in a share ``broken`` that
    it had right: a model that was trained on, or made smaller.
    """

    def __init__(self, release: int = 1, wrong: float = 0.2, mended: float = 0.0, broken: float = 0.0) -> None:
        self._release, self._wrong, self._mended, self._broken = release, wrong, mended, broken

    def predict(self, batch: Sequence[Sample]) -> list[str]:
        return [self._answer(sample) for sample in batch]

    def _answer(self, sample: Sample) -> str:
        first, second = map(int, sample.input.split("+"))
        # How hard a question is decides, from 0 to 1, so that a release answers the same each time.
        hard = share(sample.input)
        wrong = hard < self._wrong
        if self._release > 1:
            wrong = self._mended <= hard < self._wrong or hard >= 1 - self._broken
        return str(first + second + wrong)


def share(text: str) -> float:
    """A number from 0 to 1, as if drawn, that is the same for the same text."""
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") / 2**32


def write(file: Path, samples: int) -> None:
    """Sums, the same each time: ``python examples/gates/sums.py`` makes the data again."""
    with file.open("w", encoding="utf-8") as lines:
        for number in range(samples):
            first, second = (int(10_000 * share(f"{SEED} {name} {number}")) for name in ("first", "second"))
            line = {"id": f"q{number:04}", "sum": f"{first}+{second}", "answer": str(first + second)}
            lines.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    for count in (200, 5_000):
        write(Path(__file__).parent / f"n{count}.jsonl", count)
