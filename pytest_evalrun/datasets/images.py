"""Images read and written; imported only where there are images."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError, SampleError

try:
    import numpy as np
    from PIL import Image
except ModuleNotFoundError as error:
    raise PairError(f'{error.name} is needed for images: pip install "pytest-evalrun[vision]"') from error

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

MODES = {"rgb": "RGB", "gray": "L"}
# Told by Pillow as exceptions of many kinds, depending on the format and on what is broken in it.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, Image.DecompressionBombError)


def read_image(
    path: str | PathLike[str], color: str | None = None, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """The pixels as uint8, height x width for gray, height x width x 3 for rgb; ``color`` None takes it as it is.

    16-bit images are scaled to 8 bits; transparency is dropped; ``size`` (height, width) resizes bilinearly.
    Raises SampleError naming the file where it cannot be read as an image.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as file:
            warnings.simplefilter("ignore")  # of Pillow, about metadata that does not matter here
            image = _eight_bits(file).convert(MODES[color] if color else _own_mode(file.mode))
    except BROKEN as error:
        if getattr(error, "errno", None) and not isinstance(error, FileNotFoundError | IsADirectoryError):
            raise  # the disk's fault, not the image's: may pass
        reason = str(error).replace(f" {str(path)!r}", "")  # it is named already
        raise SampleError(f"{path}: not a readable image: {reason}") from error
    if size and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


def write_png(path: str | PathLike[str], array: Any) -> None:
    """Save height x width or height x width x channels (1, 3 or 4) as PNG.

    uint8 is written as it is; floats are taken as 0..1 and other integers as 0..255, clipped and rounded.
    """
    pixels = np.asarray(array)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise SampleError(f"{path}: shape {_times(pixels.shape)} is no image; accepted: H x W, H x W x 1, 3 or 4")
    Image.fromarray(_to_uint8(pixels, path)).save(path, format="PNG")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow itself would clip 16-bit grays at 255."""
    if image.mode == "F":
        raise ValueError("32-bit floating point pixels are not supported")
    if not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image).astype(np.int64)
    return Image.fromarray(np.clip((pixels + 128) // 257, 0, 255).astype(np.uint8))


def _own_mode(mode: str) -> str:
    return "L" if mode in {"1", "L", "LA", "La"} or mode.startswith("I") else "RGB"


def _to_uint8(pixels: NDArray[Any], path: str | PathLike[str]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise SampleError(f"{path}: the image holds NaN or infinity")
        pixels = np.rint(pixels.astype(np.float64) * 255)
    elif pixels.dtype.kind not in "iub":
        raise SampleError(f"{path}: an image of {pixels.dtype}; accepted: uint8, other integers, floats in 0..1")
    elif pixels.dtype.kind == "b":
        pixels = pixels * 255
    return np.asarray(np.clip(pixels, 0, 255), dtype=np.uint8)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "()"
