"""Links that go bad: a relay of TCP for everybody, and a slow, lossy wire between network namespaces for root.

The relay that is frozen takes data and answers nothing, as a firewall does that has lost its state: no error of TCP
ever comes. The wire stands in for netem, which many kernels lack: two TUN devices, packets carried by a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
QUEUE_SECONDS = 0.4
NEAR, FAR = "10.232.0.1", "10.232.0.2"


class Relay:
    """A port of this host that leads to another; see ``freeze``, ``cut`` and ``sent``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.sent = 0
        self.received = 0
        self.connections = 0
        self.cuts = 0
        self._frozen = threading.Event()
        self._refusing = False
        self._cut_at: int | None = None
        self._cut_back_at: int | None = None
        self._then_refuse = False
        self._pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """What is sent is taken and goes nowhere; nothing is closed."""
        self._frozen.set()

    def thaw(self) -> None:
        self._frozen.clear()

    def cut(self, *, refuse: bool = False) -> None:
        """All connections end at once; new ones are refused on demand."""
        self._refusing = refuse
        self.cuts += 1
        for sock in self._pairs:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def cut_after(self, size: int, *, refuse: bool = False) -> None:
        """Once, when so many more bytes have gone to the board."""
        self._cut_at, self._then_refuse = self.sent + size, refuse

    def cut_after_receiving(self, size: int, *, refuse: bool = False) -> None:
        """Once, when so many more bytes have come from the board."""
        self._cut_back_at, self._then_refuse = self.received + size, refuse

    def mend(self) -> None:
        """New connections are let through again."""
        self._refusing = False

    def close(self) -> None:
        self.cut(refuse=True)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = self._far()
            if far is None:
                near.close()
                continue
            self.connections += 1
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs += [near, far]
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _far(self) -> socket.socket | None:
        """None where there is nobody, or nobody shall be reached."""
        with contextlib.suppress(OSError):
            return None if self._refusing else socket.create_connection(("127.0.0.1", self._target))
        return None

    def _carry(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self._frozen.is_set():
                    continue
                data = self._until_cut(data, up)
                target.sendall(data)
                self._count(len(data), up)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _until_cut(self, data: bytes, up: bool) -> bytes:
        """What a cut lets through: it comes at its byte, in the middle of a packet too."""
        due, so_far = (self._cut_at, self.sent) if up else (self._cut_back_at, self.received)
        return data if due is None else data[: max(0, due - so_far)]

    def _count(self, size: int, up: bool) -> None:
        if up:
            self.sent += size
        else:
            self.received += size
        due = (self._cut_at is not None and self.sent >= self._cut_at) or (
            self._cut_back_at is not None and self.received >= self._cut_back_at
        )
        if due:
            self._cut_at = self._cut_back_at = None
            self.cut(refuse=self._then_refuse)


class Wire:
    """Two namespaces and the wire between them: ``near`` for us, ``far`` for the board. For root on Linux.

    >>> with Wire(tmp_path, delay_ms=25) as wire:
    ...     board.start(prefix=wire.far)
    ...     wire.run(lambda: connection.connect())
    ...     wire.set(down=True)
    """

    def __init__(self, place: Path, **how) -> None:
        self._names = [f"evr{os.getpid()}{side}" for side in "ab"]
        self._file = place / "wire.json"
        self._how = how
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def far(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self._names[1])

    def set(self, **how) -> None:
        """``delay_ms``, ``loss`` (share), ``rate_mbit``, ``down``: at once."""
        self._how |= how
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._how))
        new.replace(self._file)

    def run(self, function, timeout: float = 300.0):
        """The function, in a thread that lives on our side of the wire; what it returns or raises."""
        outcome: list = []

        def inside() -> None:
            try:
                enter(self._names[0])
                outcome.append((function(), None))
            except BaseException as error:  # noqa: BLE001 - raised again where it belongs
                outcome.append((None, error))

        thread = threading.Thread(target=inside, daemon=True)
        thread.start()
        thread.join(timeout)
        assert outcome, f"it did not come back within {timeout:g} s"
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    def __enter__(self) -> Wire:
        self.set()
        for name in self._names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        argv = [sys.executable, __file__, str(self._file), *self._names]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=True)


def enter(name: str) -> None:
    """This thread, and no other, is in the namespace from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{name}").open("rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {name}")


def _tun(name: str, address: str) -> int:
    import fcntl
    import struct

    enter(name)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", b"wire0", IFF_TUN_NO_PI))
    subprocess.run(["ip", "addr", "add", f"{address}/24", "dev", "wire0"], check=True)
    subprocess.run(["ip", "link", "set", "wire0", "up", "mtu", "1500", "txqueuelen", "1000"], check=True)
    return fd


class _Carrier:
    def __init__(self, file: Path, near: int, far: int) -> None:
        self._file = file
        self._other = {near: far, far: near}
        self._free = {near: 0.0, far: 0.0}
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._seen = 0
        self._how: dict = {}

    def run(self) -> None:
        while True:
            self._look()
            wait = max(0.0, min(0.05, self._queue[0][0] - time.monotonic())) if self._queue else 0.05
            for fd in select.select(list(self._other), [], [], wait)[0]:
                self._take(fd)
            while self._queue and self._queue[0][0] <= time.monotonic():
                _, _, fd, packet = heapq.heappop(self._queue)
                with contextlib.suppress(OSError):
                    os.write(fd, packet)

    def _look(self) -> None:
        changed = self._file.stat().st_mtime_ns
        if changed != self._seen:
            self._how, self._seen = json.loads(self._file.read_text()), changed

    def _take(self, fd: int) -> None:
        for _ in range(64):
            try:
                packet = os.read(fd, 2048)
            except BlockingIOError:
                return
            if self._how.get("down") or random.random() < self._how.get("loss", 0):
                continue
            when = time.monotonic()
            if rate := self._how.get("rate_mbit", 0):
                if self._free[fd] - when > QUEUE_SECONDS:
                    continue
                when = self._free[fd] = max(when, self._free[fd]) + len(packet) * 8 / (rate * 1e6)
            self._count += 1
            when += self._how.get("delay_ms", 0) / 1000
            heapq.heappush(self._queue, (when, self._count, self._other[fd], packet))


if __name__ == "__main__":
    ends = [_tun(name, address) for name, address in zip(sys.argv[2:], (NEAR, FAR), strict=True)]
    print("ready", flush=True)
    _Carrier(Path(sys.argv[1]), *ends).run()
