"""One SSH connection, through as many servers as it takes, and what paramiko must be told to be fast and sound."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.faults import LinkLost, Refused
from pytest_evalrun.remote.hostkeys import KnownKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.remote.hosts import Hop

# paramiko prefers slow ones and puts the fastest last; the unsafe ones (CBC, 3DES) are not offered at all.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr")
# macOS: seconds after which unanswered data ends a connection (netinet/tcp.h).
_TCP_RXT_CONNDROPTIME = 0x80
# What goes wrong is raised, and told by us; without a handler paramiko would write to stderr as well.
_SILENT = logging.NullHandler()


@dataclass(frozen=True)
class Limits:
    """Seconds: to connect, between two signs of life, of silence that mean death, and what the board itself allows."""

    connect: float = 10.0
    beat: float = 2.0
    quiet: float = 10.0
    # The board's watchdog looks this often for signs of ours: what runs there ends after one to two of these.
    watch: int = 12
    grace: int = 2
    reconnect: float = 30.0


class Pulse:
    """A socket that knows when something was last heard from the other side."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.last = time.monotonic()

    def recv(self, size: int) -> bytes:
        data: bytes = self._sock.recv(size)
        self.last = time.monotonic()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Link:
    """A connection that stands; once ``lost`` it stays so, and ``reason`` says why.

    ``note`` is told what a person should hear of the files of known keys, before anything is tried.
    """

    def __init__(self, hops: Sequence[Hop], limits: Limits, note: Callable[[str], object] = lambda _: None) -> None:
        self.hops = hops
        self.limits = limits
        self.reason = ""
        self._clients: list[Any] = []
        try:
            for hop in hops:
                keys, password = KnownKeys(hop), _password(hop)
                for line in keys.notes:
                    note(line)
                self._pulse = Pulse(self._socket(hop))
                self._clients.append(_client(hop, self._pulse, limits, keys, password))
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return str(self.hops[-1])

    @property
    def transport(self) -> Any:
        """None once it was closed."""
        return self._clients[-1].get_transport()

    @property
    def lost(self) -> bool:
        transport = self.transport
        return bool(self.reason) or transport is None or not transport.is_active()

    @property
    def silence(self) -> float:
        """Seconds since anything was heard."""
        return time.monotonic() - self._pulse.last

    def channel(self) -> Any:
        """A new channel. Raises LinkLost."""
        with self.telling():
            return self.transport.open_session(timeout=self.limits.connect)

    @contextlib.contextmanager
    def telling(self) -> Any:
        """Turn what paramiko raises of a dead connection into the error that tells why; all else is left as it is."""
        import paramiko

        try:
            yield
        except LinkLost:
            raise
        except paramiko.ChannelException as error:  # refused by a server that lives: it has too many already
            raise LinkLost(f"board {self.name}: it opens no further channel: {error}") from error
        except TimeoutError as error:
            raise self.gone(f"it did not answer within {self.limits.connect:g} s") from error
        except broken() as error:
            raise self.gone(str(error) or type(error).__name__) from error

    def gone(self, why: str = "the connection ended") -> LinkLost:
        """The error to raise where the connection turned out to be lost; from now on it is for everybody."""
        self.lose(why)
        return LinkLost(f"board {self.name}: {self.reason}")

    def lose(self, reason: str) -> None:
        """Everybody who waits for the board is woken."""
        self.reason = self.reason or reason
        self.close()

    def close(self) -> None:
        for client in reversed(self._clients):
            with contextlib.suppress(*broken()):  # to say goodbye over a dead connection is an error, too
                client.close()

    def _socket(self, hop: Hop) -> Any:
        if self._clients:
            try:
                return (
                    self._clients[-1]
                    .get_transport()
                    .open_channel(
                        "direct-tcpip", (hop.address, hop.port), ("127.0.0.1", 0), timeout=self.limits.connect
                    )
                )
            except Exception as error:
                raise LinkLost(f"board {hop}: cannot be reached through {self.hops[0]}: {error}") from error
        return _tcp(hop, self.limits)


def broken() -> tuple[type[Exception], ...]:
    """All that paramiko raises of a connection that has ended; the last is a slip of its own then."""
    import paramiko

    return paramiko.SSHException, EOFError, OSError, AttributeError


def _tcp(hop: Hop, limits: Limits) -> socket.socket:
    try:
        sock = socket.create_connection((hop.address, hop.port), limits.connect)
    except OSError as error:
        raise LinkLost(f"board {hop}: cannot be reached: {error.strerror or error}") from error
    # Without it each command waits some 40 ms for an acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    quiet = max(1, int(limits.quiet))
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, quiet * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, quiet // 2))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, quiet // 6))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    elif sys.platform == "darwin":
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_RXT_CONNDROPTIME, quiet)
    return sock


def _client(hop: Hop, sock: Pulse, limits: Limits, keys: KnownKeys, password: str | None) -> Any:
    """Logged in, by a server that is known."""
    import paramiko

    # What it tells of every connection belongs into no pair's log; trouble comes as an exception.
    logging.getLogger(paramiko.__name__).propagate = False
    logging.getLogger(paramiko.__name__).addHandler(_SILENT)
    client = paramiko.SSHClient()
    policy = _Policy(keys)
    client.set_missing_host_key_policy(policy)
    try:
        client.connect(
            hop.address,
            hop.port,
            username=hop.user,
            password=password,
            key_filename=list(hop.identity_files),
            allow_agent=hop.agent,
            look_for_keys=hop.search_keys,
            sock=sock,
            timeout=limits.connect,
            banner_timeout=2 * limits.connect,  # so that silence always ends by the other limit, in the same words
            auth_timeout=limits.connect,
            transport_factory=_transport_for(keys),
        )
    except BaseException as error:
        said_no = policy.passed and _said_no(client.get_transport(), error, sock, limits)
        client.close()
        sock.close()
        if isinstance(error, ConfigError) or not isinstance(error, Exception):
            raise
        raise (_refused(hop, error) if said_no else _lost(hop, error, limits)) from error
    return client


def _said_no(transport: Any, error: BaseException, sock: Pulse, limits: Limits) -> bool:
    """Say whether a login that came to nothing was refused, or cut off: paramiko calls both a failed authentication.

    A server that refuses says so and stays, or says goodbye; one whose link is lost does neither. What is wrong with
    a file of ours is no loss either.
    """
    if isinstance(error, EOFError | OSError) and getattr(error, "filename", None) is None:
        return False
    if transport.goodbye:
        return True
    return transport.is_active() and time.monotonic() - sock.last < limits.connect / 2


class _Policy:
    """No key is ever given to paramiko's own check, so that each comes here."""

    def __init__(self, keys: KnownKeys) -> None:
        self._keys = keys
        self.passed = False

    def missing_host_key(self, _client: Any, _name: str, key: Any) -> None:
        self._keys.check(key)
        self.passed = True


def _password(hop: Hop) -> str | None:
    if hop.password_env is None:
        return None
    if (value := os.environ.get(hop.password_env)) is None:
        raise ConfigError(
            f"board {hop}: its password is in {hop.password_env}, which is not set; set it before the run"
        )
    return value


def _refused(hop: Hop, error: Exception) -> Refused:
    tried = [f"the keys {', '.join(hop.identity_files)}"] * bool(hop.identity_files)
    tried += ["the keys of ~/.ssh"] * hop.search_keys + ["the agent's keys"] * hop.agent
    tried += [f"the password in {hop.password_env}"] * bool(hop.password_env)
    return Refused(
        f"board {hop}: does not let {hop.user} in ({error}); tried: {', '.join(tried) or 'nothing'}; "
        f"add the right key to the agent or name it, and try `ssh -p {hop.port} {hop.user}@{hop.address}`"
    )


def _lost(hop: Hop, error: Exception, limits: Limits) -> LinkLost:
    why = str(error) or type(error).__name__
    if "No existing session" in why:  # it goes on without an answer, and says then what it then lacks
        why = f"it did not answer within {limits.connect:g} s"
    return LinkLost(f"board {hop}: cannot be reached: {why}")


def _transport_for(keys: KnownKeys) -> Callable[..., Any]:
    def make(sock: Any, **options: Any) -> Any:
        import paramiko

        transport = paramiko.Transport(sock, **options)
        # A rekey that meets the end of a channel stalls both for 30 s, then the connection is dead (paramiko #822).
        # It comes every 512 MiB; the server asks for its own in time, as OpenSSH does after 64 GB.
        transport.packetizer.REKEY_BYTES = 1 << 40
        transport.packetizer.REKEY_PACKETS = 1 << 31
        wanted = transport.get_security_options()
        wanted.ciphers = [name for name in CIPHERS if name in wanted.ciphers]
        # An RSA key is asked for by the signature that it shall make.
        rsa = ["rsa-sha2-512", "rsa-sha2-256"]
        known = [name for kind in keys.types for name in (rsa if kind == "ssh-rsa" else [kind])]
        rest = [name for name in wanted.key_types if name not in known]
        wanted.key_types = [*(name for name in known if name in wanted.key_types), *rest]
        table = transport._channel_handler_table  # noqa: SLF001 - the only way to hear of signals
        number = next(number for number, handler in table.items() if handler is paramiko.Channel._handle_request)  # noqa: SLF001
        transport._channel_handler_table = {**table, number: _take_request}  # noqa: SLF001
        transport.goodbye = ""
        transport._parse_disconnect = partial(_take_goodbye, transport)  # noqa: SLF001 - it only logs it
        return transport

    return make


def _take_goodbye(transport: Any, message: Any) -> None:
    """A server that ends a connection on purpose says why; a link that is cut says nothing."""
    code = message.get_int()
    transport.goodbye = message.get_text() or f"code {code}"


def _take_request(channel: Any, message: Any) -> None:
    """paramiko throws away by which signal a program ended."""
    if message.get_text() == "exit-signal":
        message.get_boolean()
        channel.exit_signal = message.get_text()
        channel.status_event.set()
        return
    message.rewind()
    message.get_int()
    type(channel)._handle_request(channel, message)  # noqa: SLF001 - the handler that stood here
