"""Arrays in files, and the depth of pixels: what white is in a type, and what does not fit into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

NPY = ".npy"
NUMBERS = "biuf"
# Files that hold pixels and do not say how many, nor of which type.
PLANES = frozenset({".raw", ".yuv", ".bin"})
# An output may overshoot, but not sixteen times: floats of 0..255 taken for 0..1, or 16 bits for 8, go further.
OVERSHOOT = 16


def is_npy(path: Path) -> bool:
    """Cameras and other systems write names in capitals."""
    return path.suffix.lower() == NPY


def read_npy(path: Path) -> Array:
    """The array of a .npy file, in the byte order of this machine. Raises SampleError where there is none."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, FileNotFoundError) as error:
        raise SampleError(f"{path}: not a readable .npy file: {error}") from error
    if not array.size:
        raise SampleError(f"{path}: the array is empty ({shape_text(array.shape)})")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read_raw(path: Path, dtype: np.dtype[Any], shape: Sequence[int] | None) -> Array:
    """The numbers of a file that holds nothing else, flat where no ``shape`` is given.

    Raises SampleError for a file that is missing or empty, has a part of a number, or more or fewer than the shape.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise SampleError(f"{path}: the file is missing") from error
    if not data:
        raise SampleError(f"{path}: the file is empty (0 bytes)")
    if shape is not None and len(data) != (expected := int(np.prod(shape)) * dtype.itemsize):
        raise SampleError(f"{path}: {len(data)} bytes; {shape_text(shape)} of {dtype} are {expected} bytes")
    if len(data) % dtype.itemsize:
        raise SampleError(f"{path}: {len(data)} bytes are no whole number of {dtype} ({dtype.itemsize} bytes each)")
    array = np.frombuffer(data, dtype=dtype)
    return array if shape is None else array.reshape(shape)


@dataclass(frozen=True)
class RawPlane:
    """The layout of files of pixels alone: a ``shape`` with channels ``first`` or last, and the type of a number."""

    shape: tuple[int, ...]
    dtype: str
    first: bool

    @classmethod
    def of(cls, preprocess: Mapping[str, Any]) -> RawPlane | None:
        """Read the layout that a suite says of a model's input: `input: raw` with a shape and a type; else None."""
        shape = preprocess.get("shape")
        dtype = preprocess.get("raw_dtype") or preprocess.get("dtype")
        if preprocess.get("input") != "raw" or not shape or not dtype:
            return None
        return cls(tuple(shape), dtype, preprocess.get("layout", "NCHW") == "NCHW")

    def read(self, path: Path) -> Array:
        """Height x width, and channels where there are several. Raises SampleError for a file of another size."""
        array = read_raw(path, np.dtype(self.dtype), self.shape)
        while array.ndim > 2 and array.shape[0] == 1:  # the batch's dimension, or a single channel
            array = array[0]
        if array.ndim > 3:
            raise SampleError(f"{path}: {shape_text(self.shape)} is no image; accepted: H x W, C x H x W, H x W x C")
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 and self.first else array
        return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def is_plane(path: Path) -> bool:
    return path.suffix.lower() in PLANES


def shape_text(shape: Sequence[int | None]) -> str:
    """``1 x 28 x 28``, with ``?`` for what is open."""
    return " x ".join("?" if size is None else str(size) for size in shape) or "a single number"


def white(dtype: np.dtype[Any]) -> int | None:
    """Return what white is in pixels of a type: the largest number of 8 or 16 bits, 1 in floats, else None."""
    if dtype.kind == "f":
        return 1
    return int(np.iinfo(dtype).max) if dtype in (np.uint8, np.uint16) else None


def depth_text(dtype: np.dtype[Any]) -> str:
    """``16 bits (0 to 65535)`` of pixels; of what knows no white, its type."""
    limit = white(dtype)
    return f"{dtype.itemsize * 8} bits (0 to {limit})" if limit and dtype.kind == "u" else str(dtype)


def to_depth(values: Array, dtype: Any) -> Array:
    """Values rounded and clipped into uint8 or uint16.

    Raises ValueError for NaN and infinity, and for values so far beyond white that they are of another depth.
    """
    limit = int(np.iinfo(dtype).max)
    largest = max(float(values.max()), -float(values.min()))
    if not np.isfinite(largest):
        raise ValueError("it holds NaN or infinity")
    if largest > OVERSHOOT * limit:
        raise ValueError(f"it holds values up to {largest:g}, where white is {limit}")
    return np.asarray(np.clip(np.rint(values), 0, limit), dtype=dtype)
