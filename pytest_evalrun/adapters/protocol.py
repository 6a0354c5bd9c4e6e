"""What a kind of model must be able to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.protocol import Sample


@dataclass(frozen=True, slots=True)
class Detailed:
    """A prediction with what else shall be kept of it, in values that JSON has.

    ``detail["seconds"]`` is what this sample took, where a model knows that better than the clock of whoever asks.
    """

    prediction: Any
    detail: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Adapter(Protocol):
    """A model that is loaded once, asked batch by batch, and closed.

    A prediction is a JSON value (``str``, ``int``, ``float``, ``bool``, ``None``, lists and dicts of them; numpy
    scalars and small arrays are converted), an image (:class:`numpy.ndarray` of two or three dimensions, saved without
    loss), or a :class:`pathlib.Path` of a file that the model wrote; or one of these in :class:`Detailed`.
    """

    def load(self) -> None:
        """Make the model ready; called once before the first batch of the first dataset."""

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        """One prediction a sample, in the order of the batch. The samples carry no reference."""

    def close(self) -> None:
        """Give back what :meth:`load` took; must not take longer than a few seconds."""
