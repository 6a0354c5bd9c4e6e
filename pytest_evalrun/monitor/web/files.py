"""Files behind the page: those below a few directories, and what samples name; pictures are shown, others are saved."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_evalrun.monitor.web.door import NotShown
from pytest_evalrun.rundir.lines import open_plain

if TYPE_CHECKING:
    from aiohttp import web

# What a browser shows by itself; SVG is a document with scripts, and not among them.
PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
BYTES = "application/octet-stream"
# A file lies in nobody's memory as a whole.
_BLOCK = 1 << 18
# So many files of samples are known by what a page calls them; the pages before the last ones lose theirs.
MOST_NAMED = 4096


class SampleFiles:
    """Files that samples name, wherever they lie: a page gets a name for each that only this server can make.

    So no request ever holds a path. Links are followed when the name is made: nothing that becomes one afterwards is
    sent.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._files: OrderedDict[str, Path] = OrderedDict()

    def name(self, path: Path) -> str:
        """What the file is called from now on. Raises OSError, RuntimeError or ValueError where there is none."""
        path = path.resolve(strict=True)
        told = hmac.new(self._secret, os.fsencode(path), hashlib.sha256).hexdigest()[:32]
        self._files[told] = path
        self._files.move_to_end(told)
        while len(self._files) > MOST_NAMED:
            self._files.popitem(last=False)
        return told

    def find(self, name: str) -> Path:
        """The file of a name. Raises NotShown where there is none."""
        path = self._files.get(name)
        if path is None:
            raise NotShown(404, "no such file; load the samples again")
        return path


def below(directory: Path, name: str) -> Path:
    """The file of this name below a directory, with all links followed. Raises NotShown where it lies elsewhere."""
    parts = name.split("/")
    if "\0" in name or not all(parts) or any(part in (".", "..") for part in parts):
        raise NotShown(404, "no such file")
    try:
        root = directory.resolve(strict=True)
        found = root.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise NotShown(404, "no such file") from None
    if not found.is_relative_to(root):
        raise NotShown(404, "no such file")
    return found


async def send_file(request: web.Request, path: Path) -> web.StreamResponse:
    """Send a file as it is now, block by block. Raises NotShown for what is none; a FIFO holds nobody up."""
    import asyncio

    from aiohttp import web

    try:
        fd = await asyncio.to_thread(open_plain, path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        raise NotShown(404, "no such file") from None
    try:
        left = os.fstat(fd).st_size
        response = web.StreamResponse(headers=headers_of(path.name))
        response.content_length = left
        await response.prepare(request)
        while left > 0 and request.method != "HEAD":
            block = await asyncio.to_thread(os.read, fd, min(_BLOCK, left))
            if not block:  # it was cut meanwhile
                break
            left -= len(block)
            await response.write(block)
        with suppress(ConnectionError):
            await response.write_eof()
        return response
    finally:
        os.close(fd)


def headers_of(name: str) -> dict[str, str]:
    """What a file is by the end of its name, and whether it is shown or saved."""
    kind = PICTURES.get(Path(name).suffix.lower(), BYTES)
    how = "attachment" if kind == BYTES else "inline"
    told = quote(name.encode("utf-8", "surrogateescape"), safe="")
    return {
        "Content-Type": kind,
        "Content-Disposition": f"{how}; filename*=UTF-8''{told}",
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    }
