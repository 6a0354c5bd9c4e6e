"""The files beside an ONNX model that hold its weights: a model of more than 2 GB never has them inside."""

from __future__ import annotations

import mmap
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Hashes

# A StringStringEntryProto whose key is "location"; the length of its value follows, in one byte or two.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff][\x01-\x7f])", re.DOTALL)


def external_data(model: Path, hashes: Hashes) -> list[str]:
    """Names of the files that a model's tensors lie in, relative to its directory, looked up once a content."""
    found: list[str] = hashes.derived(model, "external data", lambda: {"files": _locations(model)})["files"]
    return found


def _locations(model: Path) -> list[str]:
    """From the bytes themselves: to load the model for this would take ONNX, and as much memory as it is large."""
    if not model.stat().st_size:  # told when it is loaded
        return []
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        names = {data[match.end() : match.end() + _length(match[1])] for match in _LOCATION.finditer(data)}
    return sorted(name for raw in names if _is_inside(name := raw.decode("utf-8", "surrogateescape")))


def _length(varint: bytes) -> int:
    return (varint[0] & 0x7F) | (varint[1] << 7 if len(varint) == 2 else 0)


def _is_inside(name: str) -> bool:
    """What ONNX Runtime accepts: it refuses files outside of the model's directory itself."""
    return "\0" not in name and not name.startswith("/") and ".." not in PurePosixPath(name).parts
