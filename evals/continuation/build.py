"""Make data/sequences.csv; run by hand, what it writes is committed. A second run writes the same, byte for byte."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
SEED = 4
COUNT = 400
SHOWN = 10  # terms, and one more to be guessed


def _polynomial(chance: random.Random) -> list[int]:
    factors = [chance.randint(-9, 9) for _ in range(chance.randint(1, 4))]
    return [sum(factor * n**power for power, factor in enumerate(factors)) for n in range(SHOWN + 1)]


def _recurrence(chance: random.Random) -> list[int]:
    length = chance.randint(1, 4)
    rule, terms = (
        [chance.choice((-2, -1, 1, 2, 3)) for _ in range(length)],
        [chance.randint(1, 9) for _ in range(length)],
    )
    while len(terms) <= SHOWN:
        terms.append(sum(factor * term for factor, term in zip(rule, terms[-length:], strict=True)))
    return terms


def _alternating(chance: random.Random) -> list[int]:
    low, high = chance.randint(-50, 50), chance.randint(100, 200)
    down, up = chance.randint(-9, -1), chance.randint(1, 9)
    return [(high + down * (n // 2)) if n % 2 else (low + up * (n // 2)) for n in range(SHOWN + 1)]


def _noise(chance: random.Random) -> list[int]:
    return [chance.randint(-99, 99) for _ in range(SHOWN + 1)]


KINDS: list[Callable[[random.Random], list[int]]] = [_polynomial, _polynomial, _recurrence, _recurrence, _alternating]


def main() -> None:
    chance = random.Random(SEED)  # noqa: S311 - sequences, not secrets
    (HERE / "data").mkdir(exist_ok=True)
    with (HERE / "data" / "sequences.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["data_id", "sequence", "next"])
        for data_id in range(COUNT):
            kind = _noise if data_id % 25 == 24 else KINDS[data_id % len(KINDS)]
            *terms, last = kind(chance)
            table.writerow([data_id, " ".join(map(str, terms)), last])


if __name__ == "__main__":
    main()
