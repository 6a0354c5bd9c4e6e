"""Images read and written, at the depth that their files have; imported only where there are images."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError, SampleError

try:
    import numpy as np
    from PIL import Image, ImageOps
except ModuleNotFoundError as error:
    raise PairError(f'{error.name} is needed for images: pip install "pytest-evalrun[vision]"') from error

from pytest_evalrun.datasets.arrays import NPY, NUMBERS, is_npy, read_npy, shape_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from pytest_evalrun.datasets.arrays import Array

MODES = {"rgb": "RGB", "gray": "L"}
# Told by Pillow as exceptions of many kinds, depending on the format and on what is broken in it.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, Image.DecompressionBombError)

# What a file says of its pixels and what is not done to them.
NOT_TURNED = "its EXIF orientation is not applied"
NOT_BLENDED = "its transparency is dropped, so that hidden pixels show"
_ORIENTATION = 0x0112
# Pillow takes the upper eight of sixteen bits of each color: another byte order in the same place gives the lower.
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
# As Pillow mixes eight bits: 299, 587 and 114 thousandths.
_LUMA = np.array([19595, 38470, 7471], dtype=np.int64)


def read_image(
    path: str | PathLike[str],
    color: str | None = None,
    size: tuple[int, int] | None = None,
    *,
    orient: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Array:
    """The pixels as the file holds them: height x width for gray, height x width x 3 for rgb.

    uint8, or what else the file has: uint16, int16, int32, uint32, float32; of .npy any number. ``color`` None takes
    the colors as they are; ``size`` (height, width) resizes bilinearly; ``orient`` turns the image as its EXIF says;
    ``tell`` is told what is not applied. Raises SampleError naming the file where it cannot be read as an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about metadata that does not matter here
            npy = is_npy(Path(path))
            pixels = _array(Path(path), color) if npy else _decoded(path, color, orient=orient, tell=tell)
    except BROKEN as error:
        if getattr(error, "errno", None) and not isinstance(error, FileNotFoundError | IsADirectoryError):
            raise  # the disk's fault, not the image's: may pass
        reason = str(error).replace(f" {str(path)!r}", "")  # it is named already
        raise SampleError(f"{path}: not a readable image: {reason}") from error
    pixels = _colored(pixels, color)
    return _resized(pixels, size) if size and pixels.shape[:2] != size else pixels


def write_image(path: Path, array: Any) -> Path:
    """Save height x width or height x width x channels (1, 3 or 4) without loss; the file, ``path`` with an ending.

    PNG holds uint8, booleans as black and white, and gray uint16; every other type of numbers is a .npy file.
    """
    pixels = np.asarray(array)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        shape = shape_text(pixels.shape)
        raise SampleError(f"{path}: shape {shape} is no image; accepted: H x W, H x W x 1, 3 or 4")
    if pixels.dtype.kind not in NUMBERS:
        raise SampleError(f"{path}: an image of {pixels.dtype}; accepted: integers, floats, booleans")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise SampleError(f"{path}: the image holds NaN or infinity")
    pixels = _eight_bits(pixels) if pixels.dtype.kind == "b" else pixels
    if pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and pixels.ndim == 2):
        file = path.with_name(f"{path.name}.png")
        Image.fromarray(pixels).save(file, format="PNG")
    else:
        file = path.with_name(f"{path.name}{NPY}")
        np.save(file, pixels, allow_pickle=False)
    return file


def _array(path: Path, color: str | None) -> Array:
    pixels = read_npy(path)
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and (color is None or pixels.shape[2] in (1, 3, 4)))
    if not fits or pixels.dtype.kind not in NUMBERS:
        what = f"an image in {color}" if color else "an image"
        raise SampleError(f"{path}: {shape_text(pixels.shape)} of {pixels.dtype} is not {what}")
    pixels = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return _eight_bits(pixels) if pixels.dtype.kind == "b" else pixels


def _eight_bits(truths: Array) -> Array:
    return truths.astype(np.uint8) * np.uint8(255)


def _decoded(
    path: str | PathLike[str], color: str | None, *, orient: bool, tell: Callable[[str], None] | None
) -> Array:
    with Image.open(path) as file:
        raw = _raw_mode(file)
        depth = _depth(file, raw)
        image = _turned(file, orient=orient, tell=tell)
        if depth is None:
            return np.asarray(image.convert(MODES[color] if color else _own_mode(image.mode)))
        if image.mode[0] in "IF":
            return np.asarray(image).astype(depth, copy=False)
        return _deep_colors(path, image, raw, orient=orient)


def _raw_mode(file: Image.Image) -> str:
    """Return how the pixels lie in the file, in Pillow's words; empty where its format has no such words."""
    tiles = getattr(file, "tile", None)
    args = tiles[0][3] if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _depth(file: Image.Image, raw: str) -> Any:
    """The type of pixels that have more than eight bits; None for all others."""
    if file.mode == "F":
        return np.float32
    if file.mode == "I":  # Pillow's signed 32 bits, whatever lies in the file
        signed = raw.endswith("S")
        if raw.startswith("I;16"):
            return np.int16 if signed else np.uint16
        return np.uint16 if file.format == "PPM" else np.uint32 if raw.startswith("I;32") and not signed else np.int32
    if file.mode.startswith("I;16"):
        return np.uint16
    deep = raw[-4:-1] == ";16"  # with a byte order: BGR;16 is five and six bits a color
    return np.uint16 if deep or (file.format == "PPM" and _most_of_ppm(file) > 255) else None


def _most_of_ppm(file: Any) -> int:
    """The number that is white in a PPM; it is no part of its mode."""
    args = file.tile[0][3]
    return args[-1] if isinstance(args, tuple) and isinstance(args[-1], int) else 255


def _turned(file: Image.Image, *, orient: bool, tell: Callable[[str], None] | None) -> Image.Image:
    """The image, loaded, turned where that is wanted; a TIFF has been turned by Pillow then."""
    file.load()
    if tell is not None and _is_transparent(file):
        tell(NOT_BLENDED)
    if not (orient or tell) or _orientation(file) not in range(2, 9):
        return file
    if orient:
        return ImageOps.exif_transpose(file)
    if tell is not None:
        tell(NOT_TURNED)
    return file


def _orientation(file: Image.Image) -> Any:
    try:
        return file.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken metadata does not make the pixels unreadable
        return 1


def _is_transparent(file: Image.Image) -> bool:
    """Tell whether some pixel is transparent: most images with an alpha channel never use it."""
    bands = file.getbands()
    if bands[-1] in {"A", "a"}:
        return bool(file.getchannel(len(bands) - 1).getextrema()[0] < 255)  # type: ignore[operator]
    return "transparency" in file.info


def _deep_colors(path: str | PathLike[str], upper: Image.Image, raw: str, *, orient: bool) -> Array:
    """Colors of sixteen bits, of which Pillow gives eight at a time."""
    name, order = raw[:-1], _OTHER_ORDER.get(raw[-1:])
    if name not in {"RGB;16", "RGBA;16", "RGBX;16"} or order is None:
        raise ValueError("its sixteen bits a color cannot be read; accepted: RGB and RGBA of PNG or TIFF, gray, .npy")
    with Image.open(path) as file:
        file.tile = [_as(name + order, tile) for tile in file.tile]
        lower = np.asarray(_turned(file, orient=orient, tell=None))[:, :, :3]
    return np.asarray(np.asarray(upper)[:, :, :3].astype(np.uint16) * 256 + lower, dtype=np.uint16)


def _as(mode: str, tile: Any) -> Any:
    """A part of a file, which is a bare tuple before Pillow 11, to be unpacked in another mode."""
    args = (mode, *tile[3][1:]) if isinstance(tile[3], tuple) else mode
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)


def _colored(pixels: Array, color: str | None) -> Array:
    """Gray in three channels, or colors mixed to gray; eight bits come so from Pillow."""
    if color == "rgb":
        return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels[:, :, :3]
    if color == "gray" and pixels.ndim == 3:
        if pixels.dtype.kind == "f":
            return np.asarray(pixels[:, :, :3] @ (_LUMA / 65536), dtype=pixels.dtype)
        return np.asarray((pixels[:, :, :3].astype(np.int64) @ _LUMA + 32768) >> 16, dtype=pixels.dtype)
    return pixels


def _resized(pixels: Array, size: tuple[int, int]) -> Array:
    """Bilinearly, in eight bits as Pillow does it, else in floats; a channel at a time where Pillow has no colors."""
    if pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] == 3):
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    if pixels.ndim == 3:
        return np.stack([_resized(channel, size) for channel in np.moveaxis(pixels, 2, 0)], axis=2)
    image = Image.fromarray(pixels.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
    if pixels.dtype.kind == "f":
        return np.asarray(image).astype(pixels.dtype, copy=False)
    limits = np.iinfo(pixels.dtype)
    return np.rint(np.asarray(image, dtype=np.float64)).clip(limits.min, limits.max).astype(pixels.dtype)


def _own_mode(mode: str) -> str:
    return "L" if mode in {"1", "L", "LA", "La"} else "RGB"
