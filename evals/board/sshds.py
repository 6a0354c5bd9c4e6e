"""Boards on this machine: a real sshd each, with throw-away keys and a home of its own below `.boards/`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

if TYPE_CHECKING:
    from contextlib import ExitStack

HERE = Path(__file__).resolve().parent
PLACE = HERE / ".boards"
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


class Trouble(Exception):  # noqa: N818 - read by people
    """Why there is nothing to be shown."""


def start_boards(until_the_end: ExitStack) -> list[Board]:
    """Those of devices.yaml, with one key that opens all and a known_hosts that knows all."""
    boards = [Board(entry["name"], entry["host"], entry["port"], PLACE / entry["name"]) for entry in entries()]
    for board in boards:
        board.end_left()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(mode=0o700)
    keygen(PLACE / "user_key")
    for board in boards:
        until_the_end.callback(board.stop)
        board.start()
    (PLACE / "known_hosts").write_text("".join(board.known_as() for board in boards), encoding="ascii")
    return boards


def entries() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = yaml.safe_load((HERE / "devices.yaml").read_bytes())["devices"]
    return listed


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=SBIN)
    if found is None:
        raise Trouble(
            f"{name} is not installed: apt-get install -y --no-install-recommends openssh-server openssh-client "
            "(Debian, Ubuntu), dnf install openssh-server (Fedora); macOS has it"
        )
    return found


def keygen(path: Path) -> None:
    subprocess.run([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)  # noqa: S603


@dataclass
class Board:
    """One sshd of ours; ``home`` is all that its users see of it."""

    name: str
    host: str
    port: int
    place: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def _config(self) -> Path:
        return self.place / "sshd_config"

    def start(self) -> None:
        self.home.mkdir(parents=True)
        keygen(self.place / "host_key")
        self._config.write_text(self._settings(), encoding="utf-8")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._refuse_taken_port()
        argv = [tool("sshd"), "-D", "-e", "-f", str(self._config)]
        with (self.place / "sshd.log").open("ab") as log:
            # In a session of its own: Ctrl-C is ours, and the boards outlive the pytest that it ends.
            self._process = subprocess.Popen(  # noqa: S603
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _settings(self) -> str:
        lines = {
            "Port": self.port,
            "ListenAddress": self.host,
            "HostKey": self.place / "host_key",
            "PidFile": self.place / "sshd.pid",
            "AuthorizedKeysFile": PLACE / "user_key.pub",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "yes",
            "UsePAM": "no",
            "UseDNS": "no",
            "PrintMotd": "no",
            "SetEnv": f'HOME="{self.home}"',
            "Subsystem": "sftp internal-sftp",
        }
        return "".join(f"{key} {value}\n" for key, value in lines.items())

    def _refuse_taken_port(self) -> None:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((self.host, self.port))
            except OSError as error:
                raise Trouble(f"{self.name}: port {self.port} of {self.host}: {error.strerror}") from None

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 20
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection((self.host, self.port), 1):
                    return
            except OSError:
                time.sleep(0.01)
        raise Trouble(f"{self.name}: sshd did not start:\n{(self.place / 'sshd.log').read_text(encoding='utf-8')}")

    def known_as(self) -> str:
        kind, key = (self.place / "host_key.pub").read_text(encoding="ascii").split()[:2]
        return f"[{self.host}]:{self.port} {kind} {key}\n"

    def stop(self) -> None:
        """The listener and all connections at once, as a board that loses its power; a second time does nothing."""
        process, self._process = self._process, None
        if process is not None:
            end_sshd(psutil.Process(process.pid))
            process.wait()

    def end_left(self) -> None:
        """One that an earlier call of this program left, because it was killed by SIGKILL."""
        try:
            process = psutil.Process(int((self.place / "sshd.pid").read_text(encoding="ascii")))
            if any(str(self._config) in word for word in process.cmdline()):
                end_sshd(process)
        except (OSError, ValueError, psutil.NoSuchProcess):
            pass

    def left(self) -> list[str]:
        """Work directories."""
        return sorted(path.name for path in self.home.glob("task_*"))


def _name(process: psutil.Process) -> str:
    """Empty for one that has ended meanwhile, as sessions do whose client has just gone."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def end_sshd(listener: psutil.Process) -> None:
    """And its connections; what was started through them ends by itself, as on a board."""
    sessions = [child for child in listener.children(recursive=True) if _name(child).startswith("sshd")]
    for process in (listener, *sessions):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass
