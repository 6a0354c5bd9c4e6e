"""A sample's input as the arrays that a model takes: decoded, scaled, laid out."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.datasets.arrays import (
    NUMBERS,
    OVERSHOOT,
    depth_text,
    is_npy,
    read_npy,
    read_raw,
    shape_text,
    white,
)
from pytest_evalrun.datasets.values import number_of
from pytest_evalrun.errors import PairError, SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

RAW_SUFFIXES = frozenset({".bin", ".raw", ".npy"})
UNBATCHED = "HW"
# What a scale makes of white where it fits the image: 1, or 2 where the mean goes off, as roundly as people write it.
UNIT = (0.993, 2.06)
DEPTHS = frozenset({255, 65535})
MOST_TOLD = 100  # of a reader whose files all lie in directories of their own


@dataclass(frozen=True)
class ModelInput:
    """One input of a model as it declares it; None in a shape is a size that it leaves open."""

    name: str
    shape: tuple[int | None, ...]
    dtype: Any

    @property
    def text(self) -> str:
        return f"{self.name!r} ({shape_text(self.shape)})"


@dataclass(frozen=True)
class Preprocess:
    """What the suite declares under ``preprocess``; in this order: decode, scale, mean and std, dtype, layout."""

    input: str | None = None
    color: str | None = None
    size: tuple[int, int] | None = None
    layout: str = "NCHW"
    dtype: str | None = None
    scale: float | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    shape: tuple[int, ...] | None = None
    raw_dtype: str | None = None
    orient: str | None = None
    told: set[tuple[str, Path]] = field(default_factory=set, compare=False)

    @classmethod
    def of(cls, declared: Mapping[str, Any]) -> Preprocess:
        """From the mapping of the suite, whose words were checked there."""
        lists = {key: tuple(declared[key]) for key in ("size", "shape") if declared.get(key) is not None}
        return cls(**{**declared, **lists})

    def arrays(self, sample_id: str, value: Any, inputs: Sequence[ModelInput]) -> list[Array]:
        """One array an input of the model, without the batch's dimension.

        Raises SampleError for a sample that cannot be read or holds NaN, PairError where data and model cannot fit.
        """
        arrays = [self._array(sample_id, part, model_input) for part, model_input in self._parts(value, inputs)]
        for array, model_input in zip(arrays, inputs, strict=True):
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise SampleError(f"sample {sample_id}: the input {model_input.name!r} holds NaN")
        return arrays

    @property
    def batched(self) -> bool:
        """Whether the model takes many samples at once, along a first dimension."""
        return self.layout != UNBATCHED

    def expected(self, model_input: ModelInput) -> tuple[int | None, ...] | None:
        """The shape of one sample as the model declares it; None where it declares none."""
        if not model_input.shape:
            return None
        return model_input.shape[1:] if self.batched else model_input.shape

    @property
    def varies(self) -> bool:
        """Whether samples may differ in shape, so that one that does not fit says nothing of the others."""
        return self.size is None

    def _parts(self, value: Any, inputs: Sequence[ModelInput]) -> list[tuple[Any, ModelInput]]:
        """Several suffixes go to the inputs in their order, columns by name where all names match."""
        names = [model_input.name for model_input in inputs]
        if isinstance(value, dict) and not _holds_paths(value) and set(value) == set(names):
            return [(value[model_input.name], model_input) for model_input in inputs]
        parts = list(value.values()) if isinstance(value, dict) and _holds_paths(value) else [value]
        if len(parts) != len(inputs):
            given = f"columns {', '.join(map(str, value))}" if isinstance(value, dict) else "one value a sample"
            raise PairError(f"the model has {len(inputs)} inputs ({', '.join(names)}), the dataset gives {given}")
        return list(zip(parts, inputs, strict=True))

    def _array(self, sample_id: str, value: Any, model_input: ModelInput) -> Array:
        kind = self.input or _usual_kind(value)
        if kind == "vector":
            array = self._finish(self._vector(sample_id, value, model_input), model_input, -1)
            return array.reshape(()) if self.expected(model_input) == () and array.size == 1 else array
        if not isinstance(value, Path):
            raise PairError(
                f"preprocess: input is {kind}, but sample {sample_id} is a {type(value).__name__}, not a file"
            )
        if kind == "raw":
            array = self._raw(value, model_input)
            return self._finish(array, model_input, 0 if self.layout == "NCHW" and array.ndim == 3 else -1)
        return self._image(sample_id, value, model_input)

    def _image(self, sample_id: str, path: Path, model_input: ModelInput) -> Array:
        from pytest_evalrun.datasets.images import NOT_TURNED, read_image

        flat = self.layout in {"NHW", "HW"}
        color = self.color or ("gray" if flat else "rgb")

        def tell(what: str) -> None:
            remedy = "; preprocess: {orient: exif} turns the image" if what == NOT_TURNED else ""
            self._tell_once(sample_id, path, what + remedy)

        pixels = read_image(path, color, self.size, orient=self.orient is not None, tell=tell)
        if flat and color == "rgb":
            raise PairError(f"preprocess: layout {self.layout} has no channels, but color is rgb; accepted: gray")
        if pixels.dtype != np.uint8:
            tell(f"an image of {depth_text(pixels.dtype)}: its pixels are taken as they are")
        self._check_depth(path, pixels, np.dtype(self.dtype or model_input.dtype))
        array = self._finish(pixels, model_input, -1)
        if flat:
            return array
        array = array if array.ndim == 3 else array[:, :, None]
        return array.transpose(2, 0, 1) if self.layout == "NCHW" else array

    def _tell_once(self, sample_id: str, path: Path, what: str) -> None:
        """Once a dataset: a model is asked for several, and each has a log of its own."""
        parents = path.parents
        dataset = parents[min(sample_id.count("/"), len(parents) - 1)]
        if (what, dataset) not in self.told and len(self.told) < MOST_TOLD:
            self.told.add((what, dataset))
            logging.getLogger(__name__).warning("%s: %s (said once a dataset)", path, what)

    def _check_depth(self, path: Path, pixels: Array, dtype: np.dtype[Any]) -> None:
        """Refuse settings that were written for images of another depth: to the model they would be white, or black.

        What counts is what the image holds: eight bits may well lie in a file of sixteen.
        """
        most = white(pixels.dtype)
        if most not in DEPTHS:
            return
        (other,) = DEPTHS - {most}
        here = f"{path}: an image of {depth_text(pixels.dtype)}"
        scale = self.scale or 1
        if UNIT[0] <= scale * other <= UNIT[1] and (most < other or pixels.max() > other):
            raise PairError(
                f"{here}; preprocess: scale {scale:g} is for 0 to {other}; for white to be 1 here it is "
                f"{1 / most:.6g}, to be 255 it is {255 / most:.6g}"
            )
        room = _limit(dtype) * (OVERSHOOT if self.scale else 1)
        plain = self.mean is None and self.std is None
        if plain and most * scale > room and (found := float(pixels.max())) * scale > room:
            raise PairError(
                f"{here} holds {found:g}, which does not fit into the model's {dtype}, at most {_limit(dtype):g}; see "
                "preprocess: scale"
            )

    def _raw(self, path: Path, model_input: ModelInput) -> Array:
        if not is_npy(path):
            dtype = np.dtype(self.raw_dtype or self.dtype or model_input.dtype)
            return read_raw(path, dtype, self._raw_shape(model_input))
        array = read_npy(path)
        if array.dtype.kind not in NUMBERS and model_input.dtype is not object:
            raise SampleError(f"{path}: an array of {array.dtype}; the input {model_input.name!r} takes numbers")
        return array

    def _raw_shape(self, model_input: ModelInput) -> tuple[int, ...] | None:
        """As declared, a leading 1 for the batch left out; else the model's own, where it is fixed."""
        if self.shape is not None:
            full = self.batched and len(self.shape) == len(model_input.shape) and self.shape[0] == 1
            return self.shape[1:] if full else self.shape
        dimensions = self.expected(model_input) or (None,)
        fixed = tuple(size for size in dimensions if size is not None)
        return fixed if len(fixed) == len(dimensions) else None

    def _vector(self, sample_id: str, value: Any, model_input: ModelInput) -> Array:
        columns = list(value) if isinstance(value, dict) else []
        if columns:
            value = list(value.values())
        if isinstance(value, Path):
            return self._raw(value, model_input)
        values = value if isinstance(value, list | tuple) else [value]
        if model_input.dtype is object:  # a tensor of strings
            return np.array([str(item) for item in values], dtype=object)
        values = [_number_in(item) for item in values]
        try:
            array = np.array(values)
        except ValueError as error:  # rows of different lengths
            raise SampleError(f"sample {sample_id}: not a vector: {error}") from None
        if array.dtype.kind not in "iufb":
            wrong = next((place for place, item in enumerate(values) if not isinstance(item, int | float)), None)
            text = repr(values) if wrong is None else repr(values[wrong])
            column = f"{columns[wrong]}: " if columns and wrong is not None else ""
            raise SampleError(f"sample {sample_id}: {column}{text} is not a number")
        return array

    def _finish(self, array: Array, model_input: ModelInput, channel_axis: int) -> Array:
        """Scaled, shifted and in the type of the model; integers are rounded and clipped, not wrapped."""
        dtype = np.dtype(self.dtype or model_input.dtype)
        if self.scale is not None or self.mean is not None or self.std is not None:
            array = self._scaled(array, channel_axis, np.float64 if dtype == np.float64 else np.float32)
        if dtype.kind not in "iu" or array.dtype.kind not in "iuf":
            return array.astype(dtype, copy=False)
        if array.dtype.kind == "f":
            return _rounded(array, dtype)
        own, limits = np.iinfo(array.dtype), np.iinfo(dtype)
        return array.clip(max(own.min, limits.min), min(own.max, limits.max)).astype(dtype, copy=False)

    def _scaled(self, array: Array, channel_axis: int, dtype: Any) -> Array:
        array = array.astype(dtype)
        if self.scale is not None:
            array = array * dtype(self.scale)
        if self.mean is not None:
            array = array - _per_channel("mean", self.mean, array, channel_axis)
        if self.std is not None:
            array = array / _per_channel("std", self.std, array, channel_axis)
        return array


def _holds_paths(value: Mapping[str, Any]) -> bool:
    return all(isinstance(part, Path) for part in value.values())


def _usual_kind(value: Any) -> str:
    if not isinstance(value, Path):
        return "vector"
    return "raw" if value.suffix.lower() in RAW_SUFFIXES else "image"


def _limit(dtype: np.dtype[Any]) -> float:
    """The largest number of a type; truth values and text know none."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).max)
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else math.inf


def _rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    if np.isnan(array).any():
        return array  # told as NaN, instead of as the integer that it would become
    limits = np.iinfo(dtype)
    return np.clip(np.rint(array), limits.min, limits.max).astype(dtype)


def _number_in(item: Any) -> Any:
    """A cell of CSV is text: a vector asks for the number that it spells; beyond 64 bits it is a float."""
    if type(item) is not str or (number := number_of(item)) is None:
        return item
    return number if abs(number) < 1 << 63 else float(number)


def _per_channel(name: str, values: float | Sequence[float], array: Array, axis: int) -> Array:
    """The values shaped so that they meet the channels of the array."""
    numbers = np.asarray(values, dtype=array.dtype)
    if name == "std" and not numbers.all():
        raise PairError(f"preprocess: std is {values}; nothing can be divided by 0")
    if numbers.ndim == 0 or numbers.size == 1:
        return numbers.reshape(())
    channels = 1 if array.ndim == 2 else array.shape[axis]
    if numbers.size != channels:
        raise PairError(f"preprocess: {name} has {numbers.size} values, the input {channels} channels")
    shape = [1] * array.ndim
    shape[axis] = numbers.size
    return numbers.reshape(shape)
