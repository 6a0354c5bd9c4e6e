"""Boards for tests: a real sshd on a port of this host, with throw-away keys and a home of its own.

It needs OpenSSH's server and client. Where they are missing the tests fail, and say by which command they come.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.hosts import Host
from pytest_evalrun.remote.link import Limits

PACKAGES = "openssh-server openssh-client busybox iproute2"
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
ME = pwd.getpwuid(os.geteuid()).pw_name
# A test does not wait longer than it must; the real ones are for links that are slow.
QUICK = Limits(connect=10.0, beat=0.3, quiet=6.0, watch=5, grace=1, reconnect=15.0)


def tool(name: str) -> str:
    """The path of a program that tests need."""
    found = shutil.which(name) or shutil.which(name, path=SBIN)
    if found is None:
        raise RuntimeError(
            f"tests of boards need {name}; install it: apt-get install -y --no-install-recommends {PACKAGES} "
            "(macOS has sshd; brew install busybox is not needed there)"
        )
    return found


def keygen(path: Path, kind: str = "ed25519") -> Path:
    if not path.exists():
        subprocess.run([tool("ssh-keygen"), "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    return path


class Sshd:
    """One board. ``path`` is the PATH of what runs there; ``extra`` are lines of its sshd_config.

    >>> with Sshd(tmp_path / "board") as board:
    ...     board.connection().run("echo hello")
    """

    def __init__(
        self, place: Path, *, path: str | None = None, sftp: bool = True, extra: str = "", address: str = "127.0.0.1"
    ) -> None:
        self.place = place
        self.home = place / "home"
        self.home.mkdir(parents=True)
        place.chmod(0o700)
        self.port = free_port(address)
        self.address = address
        self._path = path
        self._sftp = sftp
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        self._connections: list[Connection] = []
        self.key = keygen(place / "user_key")
        self.host_key = keygen(place / "host_key")
        shutil.copy(place / "user_key.pub", place / "authorized_keys")
        self.known_hosts = place / "known_hosts"
        self.know(self.host_key)

    def entry(self, name: str = "b1", **more: object) -> dict[str, object]:
        """As a suite writes it down."""
        given = {"name": name, "host": self.address, "port": self.port, "user": ME}
        return given | {"identity_file": [str(self.key)], "known_hosts": str(self.known_hosts)} | more

    def know(self, key: Path, *names: str) -> None:
        words = key.with_name(f"{key.name}.pub").read_text().split()[:2]
        name = ",".join(names) or f"[{self.address}]:{self.port}"
        self.known_hosts.write_text(f"{name} {' '.join(words)}\n")

    def start(self, prefix: tuple[str, ...] = ()) -> Sshd:
        """``prefix`` is what to start it by: another network namespace."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.place / "sshd_config"
        config.write_text(self._config())
        # In a session of its own: all that it starts on the board can be found by it.
        argv = [*prefix, tool("sshd"), "-D", "-e", "-f", str(config)]
        with (self.place / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if not prefix:
            self.wait()
        return self

    def _config(self) -> str:
        # SetEnv is taken once, with all of its variables.
        variables = [f'HOME="{self.home}"'] + [f'PATH="{self._path}"'] * bool(self._path)
        return "\n".join(
            [
                f"Port {self.port}",
                f"ListenAddress {self.address}",
                f"HostKey {self.host_key}",
                "PidFile none",
                f"AuthorizedKeysFile {self.place}/authorized_keys",
                "StrictModes no",
                "KbdInteractiveAuthentication no",
                "PasswordAuthentication no" if "PasswordAuthentication" not in self._extra else "",
                "PermitRootLogin yes",
                "UsePAM no",
                "UseDNS no",
                "PrintMotd no",
                "MaxSessions 100",
                "MaxStartups 100",
                f"SetEnv {' '.join(variables)}",
                "Subsystem sftp internal-sftp" if self._sftp else "",
                self._extra,
                "",
            ]
        )

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((self.address, self.port), 1) as sock:
                    if sock.recv(64).startswith(b"SSH-2.0"):
                        return
            except OSError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.005)
        raise RuntimeError((self.place / "sshd.log").read_text())

    def stop(self) -> None:
        """The listener and every connection, at once, as a board loses its power; what runs there is left to it."""
        if self._process is not None:
            # Who is cut off connects again at once: nobody must be let in between the two.
            self._process.send_signal(signal.SIGSTOP)
            self.kill_sessions()
            self._process.kill()
            self._process.wait()
            self._process = None

    def kill_sessions(self) -> None:
        """Every connection of the server, and nothing of what was started through it."""
        for pid in self.sessions():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def sessions(self) -> list[int]:
        import psutil

        try:
            children = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child.pid for child in children if _name(child).startswith("sshd")]

    def host(self, **more) -> Host:
        given = {
            "name": self.address,
            "port": self.port,
            "user": ME,
            "identity_files": (str(self.key),),
            "known_hosts": (str(self.known_hosts),),
            "config": str(self.place / "no_config"),
        }
        return Host(**(given | more))

    def connection(self, *, limits: Limits = QUICK, home: str = "", say=None, **more) -> Connection:
        """Closed with the board."""
        self._connections.append(Connection(self.host(**more), home=home, limits=limits, say=say))
        return self._connections[-1]

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        watches = [Path(connection._watchdog.directory) for connection in self._connections if connection.connects]
        for connection in self._connections:
            connection.close()
        until(lambda: not any(watch.exists() for watch in watches))
        self.stop()


def _name(process) -> str:
    """Empty for one that has ended meanwhile."""
    import psutil

    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def until(condition, seconds: float = 120.0):
    """Poll until it is true; fails loudly when it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it never happened")


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as sock:
        sock.bind((address if address.startswith("127.") else "127.0.0.1", 0))
        return sock.getsockname()[1]


def busybox(place: Path, without: tuple[str, ...] = ()) -> str:
    """A PATH of BusyBox's applets, and nothing else."""
    place.mkdir(parents=True)
    program = tool("busybox")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in set(listed) - set(without):
        (place / name.replace("/", "_")).symlink_to(program)
    return str(place)


def only(place: Path, names: tuple[str, ...]) -> str:
    """A PATH of some of this host's own programs."""
    place.mkdir(parents=True)
    for name in names:
        (place / name).symlink_to(tool(name))
    return str(place)
