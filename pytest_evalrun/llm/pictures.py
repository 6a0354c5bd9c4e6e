"""Pictures in messages: a file becomes a data URL."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.media import data_url, picture_kind
from pytest_evalrun.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The key of a part of a message whose value names a column of pictures.
IMAGE = "image"
# A larger one no endpoint takes.
MOST_BYTES = 20_000_000
_ELSEWHERE = ("data:image/", "https://", "http://")


def is_picture(path: Path) -> bool:
    """Tell by its name whether a file is a picture."""
    return (mimetypes.guess_type(path.name)[0] or "").startswith("image/")


def is_elsewhere(value: str) -> bool:
    """Tell whether a text is the URL of a picture, and no path."""
    return value.startswith(_ELSEWHERE)


def picture_url(value: Any, below: Sequence[Path], key: str) -> str:
    """The URL of a picture: a URL as it is; a file, or its bytes, as a data URL.

    ``value`` is a file of the dataset's, a path relative to the first directory in ``below``, bytes, or a mapping with
    ``bytes`` or ``path``. A path must not lead out of all of these directories: whoever wrote a row does not choose
    what else of this machine is sent away. Raises SampleError, which names ``key``.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str) and is_elsewhere(value):
        return value
    content = bytes(value) if isinstance(value, bytes | bytearray) else _content(value, below, key)
    if len(content) > MOST_BYTES:
        raise SampleError(f"{key}: a picture of more than {MOST_BYTES} bytes; accepted: a smaller one")
    if picture_kind(content) is None:
        shown = "its bytes" if isinstance(value, bytes | bytearray) else repr(str(value))
        raise SampleError(f"{key}: {shown:.200} is no picture; accepted: PNG, JPEG, GIF, WebP, BMP, TIFF")
    return data_url(content)


def _content(value: Any, below: Sequence[Path], key: str) -> bytes:
    if not isinstance(value, str | Path) or not str(value):
        raise SampleError(f"{key}: found {value!r:.80}; accepted: the path of a picture")
    path = value if isinstance(value, Path) else _file(value, below, key)
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise SampleError(f"{key}: {path}: {error.strerror}") from None


def _file(value: str, below: Sequence[Path], key: str) -> Path:
    try:
        path = (below[0] / value).resolve()
    except (OSError, ValueError) as error:  # a loop of links, NUL
        raise SampleError(f"{key}: {value!r:.200} is no path: {error}") from None
    if not any(path.is_relative_to(directory.resolve()) for directory in below):
        raise SampleError(f"{key}: {value!r:.200} leads out of {below[0]}; accepted: a picture below it")
    return path


def picture_columns(value: Any) -> set[str]:
    """The columns of pictures that messages name."""
    if isinstance(value, dict):
        own = {value[IMAGE]} if isinstance(value.get(IMAGE), str) else set()
        return own.union(*map(picture_columns, value.values()))
    return set().union(*map(picture_columns, value)) if isinstance(value, list) else set()
