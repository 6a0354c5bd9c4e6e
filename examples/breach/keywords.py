"""A model in plain Python: a message with one of the words is spam."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.protocol import Sample


class Keywords:
    def __init__(self, words: Sequence[str]) -> None:
        self._words = [word.lower() for word in words]

    def predict(self, batch: Sequence[Sample]) -> list[str]:
        return [self._kind(sample.input) for sample in batch]

    def _kind(self, text: str) -> str:
        lowered = text.lower()
        return "spam" if any(word in lowered for word in self._words) else "ham"
