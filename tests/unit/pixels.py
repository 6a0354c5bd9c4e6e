"""Pixels of every depth, and the one kind of file that Pillow does not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np

COLORS = {1: 0, 3: 2, 4: 6}  # channels -> PNG's own word for them


def noise(seed, dtype, shape=(9, 9)):
    """Pixels from black to white: 1 of floats, the largest number of a type, 100,000 of wide integers."""
    kind, values = np.dtype(dtype), np.random.default_rng(seed).random(shape)
    if kind.kind == "f":
        return values.astype(kind)
    return np.rint(values * min(np.iinfo(kind).max, 100_000)).astype(kind)


def deep_png(path, pixels):
    """A PNG of sixteen bits a channel."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, COLORS[channels], 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    written = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
    return path
