"""Where a loaded model would be, of programs that are started only when their pair is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.protocol import Sample


class StartedLater:
    """Nothing to load, and nothing to give back; whoever runs the program knows where its pair's files lie."""

    def load(self) -> None:
        """Nothing is kept between two pairs."""

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        raise AssertionError(f"{len(batch)} samples: a program is asked by the predictor of its pair")

    def close(self) -> None:
        """Nothing was taken."""
