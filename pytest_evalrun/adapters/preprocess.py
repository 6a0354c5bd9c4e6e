"""A sample's input as the arrays that a model takes: decoded, scaled, laid out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.errors import PairError, SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

RAW_SUFFIXES = frozenset({".bin", ".raw", ".npy"})
UNBATCHED = "HW"


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
        return self._image(value, model_input)

    def _image(self, path: Path, model_input: ModelInput) -> Array:
        from pytest_evalrun.datasets.images import read_image

        flat = self.layout in {"NHW", "HW"}
        color = self.color or ("gray" if flat else "rgb")
        pixels = read_image(path, color, self.size)
        if flat and color == "rgb":
            raise PairError(f"preprocess: layout {self.layout} has no channels, but color is rgb; accepted: gray")
        array = self._finish(pixels, model_input, -1)
        if flat:
            return array
        array = array if array.ndim == 3 else array[:, :, None]
        return array.transpose(2, 0, 1) if self.layout == "NCHW" else array

    def _raw(self, path: Path, model_input: ModelInput) -> Array:
        if path.suffix == ".npy":
            return _load_npy(path)
        dtype = np.dtype(self.raw_dtype or self.dtype or model_input.dtype)
        try:
            array = np.fromfile(path, dtype=dtype)
        except FileNotFoundError as error:
            raise SampleError(f"{path}: the file is missing") from error
        shape = self._raw_shape(model_input)
        if shape is None:
            return array
        expected = int(np.prod(shape)) * dtype.itemsize
        if path.stat().st_size != expected:
            raise SampleError(
                f"{path}: {path.stat().st_size} bytes; {shape_text(shape)} of {dtype} are {expected} bytes"
            )
        return array.reshape(shape)

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
        if dtype.kind not in "iu" or array.dtype.kind != "f":
            return array.astype(dtype, copy=False)
        if np.isnan(array).any():
            return array  # told as NaN, instead of as the integer that it would become
        limits = np.iinfo(dtype)
        return np.clip(np.rint(array), limits.min, limits.max).astype(dtype)

    def _scaled(self, array: Array, channel_axis: int, dtype: Any) -> Array:
        array = array.astype(dtype)
        if self.scale is not None:
            array = array * dtype(self.scale)
        if self.mean is not None:
            array = array - _per_channel("mean", self.mean, array, channel_axis)
        if self.std is not None:
            array = array / _per_channel("std", self.std, array, channel_axis)
        return array


def shape_text(shape: Sequence[int | None]) -> str:
    """``1 x 28 x 28``, with ``?`` for what is open."""
    return " x ".join("?" if size is None else str(size) for size in shape) or "a single number"


def _holds_paths(value: Mapping[str, Any]) -> bool:
    return all(isinstance(part, Path) for part in value.values())


def _usual_kind(value: Any) -> str:
    if not isinstance(value, Path):
        return "vector"
    return "raw" if value.suffix.lower() in RAW_SUFFIXES else "image"


def _load_npy(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError, FileNotFoundError) as error:
        raise SampleError(f"{path}: not a readable .npy file: {error}") from error


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
