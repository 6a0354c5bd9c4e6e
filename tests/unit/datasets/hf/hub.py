"""A hub of one dataset on loopback: what the library asks of the real one, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Hub:
    """``files`` are below ``root``, of the repository ``name`` at the commit ``sha``; ``asked`` grows."""

    def __init__(self, root: Path, name: str, sha: str) -> None:
        self.root, self.name, self.sha = root, name, sha
        self.asked: list[str] = []
        self.url = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        path, _, query = path.partition("?")
        path = path.replace("%2F", "/")
        api, files = f"/api/datasets/{self.name}", f"/datasets/{self.name}/resolve/{self.sha}/"
        if path in (api, f"{api}/revision/{self.sha}"):
            names = [{"rfilename": name} for name in self._names()]
            return self._json({"id": self.name, "sha": self.sha, "siblings": names, "tags": [], "private": False})
        if path.startswith(f"{api}/tree/{self.sha}"):
            return self._json(
                list(self._tree(path.partition(self.sha)[2].strip("/"), "recursive=true" in query.lower()))
            )
        if path.startswith(files) and (self.root / path.removeprefix(files)).is_file():
            content = (self.root / path.removeprefix(files)).read_bytes()
            return 200, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": self.sha}, content
        kind = (
            "EntryNotFound" if path.startswith(files) else "RevisionNotFound" if self.name in path else "RepoNotFound"
        )
        return 404, {"X-Error-Code": kind, "X-Error-Message": "not there"}, b"{}"

    def _names(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def _tree(self, below: str, deep: bool):
        for path in sorted((self.root / below).glob("**/*" if deep else "*")):
            name = str(path.relative_to(self.root))
            if path.is_dir():
                yield {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
            else:
                content = path.read_bytes()
                yield {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}

    def _json(self, value) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "application/json", "X-Repo-Commit": self.sha}, json.dumps(value).encode()


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(hub: Hub):
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(re.sub(r"\?.*", "", self.path))
            status, headers, content = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = reply  # noqa: N815

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
