"""Files that lie in a column of a table, as what JSON and endpoints take: data URLs."""

from __future__ import annotations

import base64
import mimetypes

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def picture_kind(content: bytes) -> str | None:
    """Tell the media type of a picture by how it begins; None for what is none."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)


def data_url(content: bytes, name: str | None = None) -> str:
    """Write a file as a text that has all of it; what it is, it says itself, or else its ``name`` does."""
    kind = picture_kind(content) or mimetypes.guess_type(name or "")[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
