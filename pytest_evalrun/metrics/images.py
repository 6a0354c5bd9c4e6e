"""Metrics on images: two files a sample, read, compared and let go."""

from __future__ import annotations

import logging
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.arrays import depth_text, is_plane, shape_text, to_depth, white
from pytest_evalrun.errors import ConfigError, PairError, SampleError
from pytest_evalrun.metrics.checks import library, measured, need_samples, unfit
from pytest_evalrun.metrics.intervals import bootstrap_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.arrays import Array, RawPlane
    from pytest_evalrun.metrics.protocol import Better, MetricValue

MAX_PSNR = 100.0  # dB; identical images have an infinite one, which neither a mean nor JSON can hold
# Of 0..255 for 0..1 and of 16 bits for 8, a range is more than 250 times what any image spans.
FAR = 200
_NEEDS = "an image file"


class _Images:
    """The mean over samples of a measure of two images of one depth.

    ``data_range`` is what white is above black: 255 or 65535 of integers of 8 or 16 bits, 1 of floats, unless said.
    ``plane`` is how files are read that hold pixels and nothing else, where the suite says it.
    """

    better: Better = "higher"
    name = ""
    plane: RawPlane | None = None
    clusters: array[int] | None = None

    def __init__(self, *, data_range: float | None = None) -> None:
        fits = data_range is None or (type(data_range) in (int, float) and 0 < data_range < float("inf"))
        if not fits:
            raise ConfigError(f"metric {self.name}: data_range is {data_range!r}; accepted: a number above 0")
        self._data_range = data_range
        self._scores = array("d")
        self._told: set[str] = set()
        self._widest = 0.0  # span of a reference, in ranges; none of 8 bits is asked

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        scores = [self._score(left, right) for left, right in zip(predictions, references, strict=True)]
        self._scores.extend(scores)
        return list(scores)

    def result(self) -> MetricValue:
        need_samples(self.name, len(self._scores))
        if 0 < self._widest < 1 / FAR:
            raise PairError(
                f"metric {self.name}: no reference spans more than 1/{1 / self._widest:.0f} of data_range; set "
                "data_range to what white is in these images"
            )
        value = sum(self._scores) / len(self._scores)
        interval = bootstrap_mean(self._scores, value, self.clusters)
        return measured(self.name, value, len(self._scores), interval, self.better)

    def compare(self, reference: Array, image: Array, data_range: float) -> float:
        """The measure of two images of one shape and depth."""
        raise NotImplementedError

    def _score(self, prediction: Any, reference: Any) -> float:
        reference = _counterpart(prediction, reference)
        image, wanted = self._read("prediction", prediction), self._read("reference", reference)
        if image.shape != wanted.shape:
            raise PairError(
                f"metric {self.name}: {prediction} is {shape_text(image.shape)}, its reference {reference} is "
                f"{shape_text(wanted.shape)}; it needs two images of one shape"
            )
        data_range = self._range(reference, wanted)
        try:
            image = _at_depth_of(wanted, image)
        except ValueError as error:
            raise PairError(
                f"metric {self.name}: {prediction} does not fit its reference {reference}: {error}"
            ) from None
        return self.compare(wanted, image, data_range)

    def _range(self, reference: Path, wanted: Array) -> float:
        """Return the range that was said, or that of the depth, if the reference fits into it."""
        most = white(wanted.dtype)
        chosen = self._data_range or most
        if chosen is None:
            raise PairError(f"metric {self.name}: {reference} is of {wanted.dtype}, which has no white; set data_range")
        low, high = float(wanted.min()), float(wanted.max())
        if (wanted.dtype.kind == "u" and most and chosen > most) or high - low > chosen:
            raise PairError(
                f"metric {self.name}: data_range is {chosen:g}, which does not fit {reference}, of "
                f"{depth_text(wanted.dtype)}: it holds {low:g} to {high:g}"
            )
        self._widest = max(self._widest, 1.0 if wanted.dtype == "uint8" else (high - low) / chosen)
        return chosen

    def _read(self, role: str, path: Any) -> Array:
        if not isinstance(path, Path):
            raise unfit(self.name, role, path, _NEEDS)
        if is_plane(path):
            return self._read_plane(role, path)
        from pytest_evalrun.datasets.images import read_image

        def tell(what: str) -> None:
            if f"{role} {what}" not in self._told:
                self._told.add(f"{role} {what}")
                logging.getLogger(__name__).warning("metric %s: %s %s: %s (said once)", self.name, role, path, what)

        try:
            return read_image(path, tell=tell)
        except (SampleError, OSError) as error:
            raise PairError(f"metric {self.name}: the {role} cannot be read: {error}") from error

    def _read_plane(self, role: str, path: Path) -> Array:
        if self.plane is None:
            raise PairError(
                f"metric {self.name}: {path} holds pixels and does not say how many; accepted: preprocess: "
                "{input: raw, shape: [height, width], raw_dtype: uint8}, or what they are"
            )
        try:
            return self.plane.read(path)
        except (SampleError, OSError) as error:
            raise PairError(f"metric {self.name}: the {role} cannot be read: {error}") from error


def _counterpart(prediction: Any, reference: Any) -> Any:
    """Choose among an item's files the one whose suffix the prediction's name has, too."""
    if not isinstance(reference, dict) or not isinstance(prediction, Path):
        return reference
    suffixes = [suffix for suffix in reference if prediction.name.endswith(suffix)]
    return reference[max(suffixes, key=len)] if suffixes else reference


def _at_depth_of(reference: Array, image: Array) -> Array:
    """The image as it would be kept at the depth of its reference: floats are 0..1 there, wide integers themselves.

    Raises ValueError where the two have depths of their own.
    """
    ours, theirs, most = image.dtype, reference.dtype, white(reference.dtype)
    if ours == theirs or ours.kind == theirs.kind == "f":
        return image
    if theirs.kind != "u" or most is None or (ours.kind == "u" and white(ours)):
        raise ValueError(f"{depth_text(ours)} against {depth_text(theirs)}; it needs two images of one depth")
    if ours.kind != "f":
        return to_depth(image, theirs)
    try:
        return to_depth(image.astype("float64") * most, theirs)
    except ValueError as error:
        raise ValueError(f"floats are taken as 0 to 1, and times {most} {error}") from None


class Psnr(_Images):
    """Peak signal-to-noise ratio in dB, at most 100 (identical images)."""

    name = "psnr"

    def compare(self, reference: Array, image: Array, data_range: float) -> float:
        if (reference == image).all():
            return MAX_PSNR
        metrics = library(self.name, "skimage.metrics")
        value = metrics.peak_signal_noise_ratio(reference, image, data_range=data_range)
        return min(float(value), MAX_PSNR)


class Ssim(_Images):
    """Structural similarity; the window of 7 shrinks to the largest odd one that fits a small image."""

    name = "ssim"
    bounds = (-1.0, 1.0)

    def compare(self, reference: Array, image: Array, data_range: float) -> float:
        side = min(reference.shape[:2])
        if side < 3:
            raise PairError(f"metric ssim: the images are {shape_text(image.shape)}; it needs at least 3 x 3")
        window = min(7, side - (side + 1) % 2)
        metrics = library(self.name, "skimage.metrics")
        value = float(
            metrics.structural_similarity(
                reference,
                image,
                data_range=data_range,
                win_size=window,
                channel_axis=-1 if reference.ndim == 3 else None,
            )
        )
        return min(max(value, -1.0), 1.0)  # floats of 32 bits are rounded beyond
