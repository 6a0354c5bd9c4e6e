"""Samples in processes of their own, which are killed where they are cancelled.

They are forked by a process that was forked itself when the task was there and nothing else: one thread, nothing open
but what the task has opened. It ends with the worker, and all samples with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.worker.dialogue import AgentAnswer, Asks, Saying
from pytest_evalrun.agents.worker.hosting import Script, Threads
from pytest_evalrun.agents.worker.tasksessions import task_error, written
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.agents.worker.hosting import Performance

# A frame: how long its status, its output and its env_out are; the status is that of the sample.
_FRAME = struct.Struct("!III")
_ANSWER = struct.Struct("!I")
_LONGEST_ORDER = 1 << 16


class Processes:
    """A process for each sample; everything else that is asked of the task runs in threads here."""

    def __init__(self, make: Callable[[], Script], *, ours: bool) -> None:
        self._script = make()
        self._ours = ours
        self._threads = Threads(lambda: self._script)
        self._is_watched = False
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork() == 0:
            self._orders.close()
            _fork_samples(self._script, theirs)
        theirs.close()

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        return self._threads.call(function)

    def start(self, asks: Asks) -> Performance:
        """Begin a sample; in the event loop."""
        if not self._is_watched:
            self._is_watched = True
            asyncio.get_running_loop().add_reader(self._orders, self._end_worker)
        mine, theirs = socket.socketpair()
        with theirs:
            order = written({"start": asks.session_id, "index": asks.index})
            with suppress(OSError):  # it has died, of which we hear in a moment
                socket.send_fds(self._orders, [order], [theirs.fileno()])
        return _Apart(asks, mine, self._orders, ours=self._ours)

    def _end_worker(self) -> None:
        """The process that forks has died, as it says nothing else: the worker could begin no sample any more."""
        asyncio.get_running_loop().remove_reader(self._orders)
        os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        self._orders.close()


class _Apart:
    """The side of the worker: what comes from the process is handed on, and what is answered goes back."""

    at_once = True

    def __init__(self, asks: Asks, mine: socket.socket, orders: socket.socket, *, ours: bool) -> None:
        self._asks = asks
        self._orders = orders
        self._ours = ours
        self._following = asyncio.get_running_loop().create_task(self._follow(mine))

    def stop(self) -> None:
        with suppress(OSError):  # whoever could be told has died, and so has the sample
            self._orders.send(written({"kill": self._asks.session_id}))

    async def _follow(self, mine: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=mine)
        asked: Future[AgentAnswer] = Future()
        try:
            while True:
                status, output, env_out = await _frame(reader)
                told = Saying(SampleStatus(status.decode()), output, env_out or None)
                if told.status is not SampleStatus.RUNNING:
                    self._asks.end(told)
                    return
                asked.cancel()  # it asks anew only where it no longer waits
                asked = self._asks.ask(told)
                asked.add_done_callback(partial(_hand_back, writer))
        except (OSError, asyncio.IncompleteReadError, RuntimeError, ValueError):
            died = "the process of the sample ended before the sample did"
            self._asks.end(task_error(self._asks.index, died, ours=self._ours))
        finally:
            writer.close()


def _hand_back(writer: asyncio.StreamWriter, asked: Future[AgentAnswer]) -> None:
    """In the worker's event loop, where answers come in."""
    if not asked.cancelled():
        text = written({"status": asked.result().status, "message": asked.result().message})
        writer.write(_ANSWER.pack(len(text)) + text)


async def _frame(reader: asyncio.StreamReader) -> list[bytes]:
    lengths = _FRAME.unpack(await reader.readexactly(_FRAME.size))
    return [await reader.readexactly(length) for length in lengths]


def _fork_samples(script: Script, orders: socket.socket) -> NoReturn:
    """Fork one process for each order, until nobody can order any more; then kill them all."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    alive: dict[int, int] = {}
    while True:
        text, fds, _, _ = socket.recv_fds(orders, _LONGEST_ORDER, 1)
        for pid in _ended(set(alive.values())):
            alive = {sample: process for sample, process in alive.items() if process != pid}
        if not text:
            break
        order = parse_json(text)
        if "kill" in order:
            _kill(alive.get(order["kill"]))
        elif (pid := os.fork()) == 0:
            orders.close()
            _perform(script, order["start"], order["index"], socket.socket(fileno=fds[0]))
        else:
            alive[order["start"]] = pid
            os.close(fds[0])
    for pid in alive.values():
        _kill(pid)
    os._exit(0)


def _ended(pids: set[int]) -> list[int]:
    """Those that have ended: until now no other process could have their numbers."""
    ended = []
    for pid in pids:
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        ended.append(pid)
    return ended


def _kill(pid: int | None) -> None:
    """Kill a sample with what it started; it has become the leader of a group, or is about to."""
    if pid is None:
        return
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _perform(script: Script, session_id: int, index: Any, mine: socket.socket) -> NoReturn:
    """The whole life of a process of a sample."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        line = _Line(mine)
        asks = Asks(session_id, index, line.ask, line.end)
        asyncio.run(script.perform_async(asks)) if script.is_async else script.perform(asks)
        code = 0
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class _Line:
    """The side of the sample: its frames go to the worker, whose answers a thread reads."""

    def __init__(self, mine: socket.socket) -> None:
        self._mine = mine
        self._lock = threading.Lock()
        self._asked: Future[AgentAnswer] | None = None
        self._over = False
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, told: Saying) -> Future[AgentAnswer]:
        with self._lock:
            if self._over:
                raise RuntimeError("the sample has ended: its agent can be asked no more")
            if self._asked is not None and not self._asked.cancelled():
                raise RuntimeError("the agent is being asked already: one action at a time")
            asked = self._asked = Future()
            self._send(told)
        return asked

    def end(self, told: Saying) -> None:
        with self._lock:
            self._over = True
            self._send(told)

    def _send(self, told: Saying) -> None:
        parts = (told.status.encode(), told.output, told.env_out or b"")
        self._mine.sendall(_FRAME.pack(*(len(part) for part in parts)) + b"".join(parts))

    def _read(self) -> None:
        with self._mine.makefile("rb") as file:
            while head := file.read(_ANSWER.size):
                answer = parse_json(file.read(_ANSWER.unpack(head)[0]))
                with self._lock:
                    asked, self._asked = self._asked, None
                if asked is not None and asked.set_running_or_notify_cancel():
                    asked.set_result(AgentAnswer(answer["status"], answer["message"]))
