"""Pictures within the page: small ones as they are, larger ones made smaller where Pillow is there, never too many."""

from __future__ import annotations

import base64
import binascii
import io
import os
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.media import data_url, picture_kind
from pytest_evalrun.rundir.lines import open_file

if TYPE_CHECKING:
    from pathlib import Path

# A picture of so many bytes at most is shown as it is.
SMALL = 64 * 1024
# All pictures of a pair together, and how long it may take to make large ones smaller.
MOST_BYTES = 4_000_000
MOST_SECONDS = 1.0
# A larger file is not even looked at; of one made smaller this is the longer side, in pixels.
LARGEST = 50_000_000
SIDE = 256
# What every browser shows, told by the first bytes; the names that such files have.
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")


def is_shown(name: str) -> bool:
    """Tell by its name whether a file may be a picture that browsers show."""
    return name[-5:].lower().endswith(ENDINGS)


@dataclass
class Pictures:
    """What is left of the room for pictures; whatever finds none is None, and shown as a file."""

    left: int = MOST_BYTES
    seconds: float = MOST_SECONDS
    refused: int = field(default=0, init=False)

    def of_file(self, path: Path) -> dict[str, Any] | None:
        """The picture in a file; None where there is none, or no room for it."""
        try:
            with open_file(path) as file:
                size = os.fstat(file.fileno()).st_size
                content = file.read(LARGEST) if size <= LARGEST and self.left > 0 else b""
        except OSError:
            return None
        return self.of_bytes(content)

    def of_bytes(self, content: bytes) -> dict[str, Any] | None:
        """The picture that these bytes are."""
        if picture_kind(content) not in SHOWN:
            return None
        if len(content) > SMALL:
            content = self._smaller(content)
        source = data_url(content) if content else ""
        if not content or len(source) > self.left:
            self.refused += 1
            return None
        self.left -= len(source)
        width, height = size_of(content)
        return {"kind": "image", "src": source, "width": width, "height": height}

    def _smaller(self, content: bytes) -> bytes:
        """A PNG of at most ``SIDE`` pixels; nothing where that cannot be made, or takes too long."""
        if self.seconds <= 0:
            return b""
        started = time.perf_counter()
        try:
            made = _thumbnail(content)
        except Exception:  # noqa: BLE001 - Pillow raises what it likes for a picture that is broken
            made = b""
        self.seconds -= time.perf_counter() - started
        return made if len(made) <= SMALL * 4 else b""


def _thumbnail(content: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (SIDE * 2, SIDE * 2))
        small = image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB")
        small.thumbnail((SIDE, SIDE))
        made = io.BytesIO()
        small.save(made, format="PNG", optimize=False)
    return made.getvalue()


def picture_in(url: str) -> bytes | None:
    """The bytes of a picture in a data URL; None where it holds something else, or damage."""
    head, comma, rest = url.partition(",")
    if not comma or not head.endswith(";base64") or len(rest) > LARGEST:
        return None
    try:
        content = base64.b64decode(rest, validate=True)
    except (ValueError, binascii.Error):
        return None
    return content if picture_kind(content) in SHOWN else None


def size_of(content: bytes) -> tuple[int | None, int | None]:
    """Width and height in pixels of a PNG, GIF, BMP or JPEG; None for others."""
    try:
        if content[:4] == b"\x89PNG":
            return struct.unpack(">II", content[16:24])
        if content[:4] == b"GIF8":
            return struct.unpack("<HH", content[6:10])
        if content[:2] == b"BM":
            width, height = struct.unpack("<ii", content[18:26])
            return abs(width), abs(height)
        if content[:2] == b"\xff\xd8":
            return _size_of_jpeg(content)
    except (struct.error, IndexError):
        pass
    return None, None


def _size_of_jpeg(content: bytes) -> tuple[int | None, int | None]:
    """Find the frame's header, segment by segment."""
    place = 2
    while place + 9 < len(content) and content[place] == 0xFF:
        kind, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4])
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return None, None
