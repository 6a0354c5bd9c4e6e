"""Metrics on images: two files a sample, read, compared and let go."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, PairError, SampleError
from pytest_evalrun.metrics.checks import library, measured, need_samples, unfit
from pytest_evalrun.metrics.intervals import bootstrap_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.metrics.protocol import Better, MetricValue

MAX_PSNR = 100.0  # dB; identical images have an infinite one, which neither a mean nor JSON can hold
_NEEDS = "an image file"


class _Images:
    """The mean over samples of a measure of two images."""

    better: Better = "higher"
    name = ""

    def __init__(self, *, data_range: float = 255) -> None:
        if type(data_range) not in (int, float) or not 0 < data_range < float("inf"):
            raise ConfigError(f"metric {self.name}: data_range is {data_range!r}; accepted: a number above 0")
        self._data_range = data_range
        self._scores = array("d")

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        scores = [self._score(left, right) for left, right in zip(predictions, references, strict=True)]
        self._scores.extend(scores)
        return list(scores)

    def result(self) -> MetricValue:
        need_samples(self.name, len(self._scores))
        value = sum(self._scores) / len(self._scores)
        return measured(self.name, value, len(self._scores), bootstrap_mean(self._scores, value), self.better)

    def compare(self, reference: NDArray[Any], image: NDArray[Any]) -> float:
        """The measure of two images of one shape."""
        raise NotImplementedError

    def _score(self, prediction: Any, reference: Any) -> float:
        image, wanted = self._read("prediction", prediction), self._read("reference", reference)
        if image.shape != wanted.shape:
            raise PairError(
                f"metric {self.name}: {prediction} is {_shape(image)}, its reference {reference} is {_shape(wanted)}; "
                "it needs two images of one shape"
            )
        return self.compare(wanted, image)

    def _read(self, role: str, path: Any) -> NDArray[Any]:
        from pytest_evalrun.datasets.images import read_image

        if not isinstance(path, Path):
            raise unfit(self.name, role, path, _NEEDS)
        try:
            return read_image(path, color=None)
        except (SampleError, OSError) as error:
            raise PairError(f"metric {self.name}: the {role} cannot be read: {error}") from error


class Psnr(_Images):
    """Peak signal-to-noise ratio in dB, at most 100 (identical images)."""

    name = "psnr"

    def compare(self, reference: NDArray[Any], image: NDArray[Any]) -> float:
        if (reference == image).all():
            return MAX_PSNR
        metrics = library(self.name, "skimage.metrics")
        value = metrics.peak_signal_noise_ratio(reference, image, data_range=self._data_range)
        return min(float(value), MAX_PSNR)


class Ssim(_Images):
    """Structural similarity; the window of 7 shrinks to the largest odd one that fits a small image."""

    name = "ssim"

    def compare(self, reference: NDArray[Any], image: NDArray[Any]) -> float:
        side = min(reference.shape[:2])
        if side < 3:
            raise PairError(f"metric ssim: the images are {_shape(image)}; it needs at least 3 x 3")
        window = min(7, side - (side + 1) % 2)
        metrics = library(self.name, "skimage.metrics")
        return float(
            metrics.structural_similarity(
                reference,
                image,
                data_range=self._data_range,
                win_size=window,
                channel_axis=-1 if reference.ndim == 3 else None,
            )
        )


def _shape(image: NDArray[np.generic]) -> str:
    return " x ".join(map(str, image.shape))
