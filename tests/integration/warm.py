"""A Python that has imported pytest and what a run needs, and forks for each run: most of a short run is its imports.

What is forked is a process of its own, as its own command would be, but for what must be said before Python starts.
So are the workers of a run by xdist: it forks them before all else, and they wait until they are asked for.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from ctypes import CDLL
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

# With these, all of what a run with some results and the command import is there.
MODULES = """
pydantic.type_adapter xdist.dsession xdist.looponfail xdist.newhooks xdist.plugin
pytest_evalrun.cli pytest_evalrun.control.reset pytest_evalrun.control.stop pytest_evalrun.datasets.tables
pytest_evalrun.evaluation.context pytest_evalrun.evaluation.life pytest_evalrun.evaluation.selection
pytest_evalrun.planning.pool pytest_evalrun.plugin.controller pytest_evalrun.plugin.fixtures pytest_evalrun.plugin.hooks
pytest_evalrun.plugin.merged pytest_evalrun.remote.models pytest_evalrun.remote.places pytest_evalrun.report.known
pytest_evalrun.report.listing pytest_evalrun.report.mergerun pytest_evalrun.rundir.configs
pytest_evalrun.rundir.launches pytest_evalrun.rundir.live pytest_evalrun.rundir.tasklock pytest_evalrun.suite.discovery
pytest_evalrun.suite.foreign pytest_evalrun.suite.published
""".split()
# What Python and the linker read of the environment when a process starts. It must be as it was for the warm Python:
# on another path there may be other plugins.
READ_AT_START = ("LANG", "LC_", "LD_", "PYTHON")


BECOME_PARENT = 36  # PR_SET_CHILD_SUBREAPER of Linux


class WarmPython:
    """The caller's side: one run at a time that is waited for, and any number of others."""

    def __init__(self) -> None:
        self._lock = Lock()
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}
        self._at_start = at_start(env)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._replies = self._socket.makefile("r")

    def takes(self, env: Mapping[str, str]) -> bool:
        """Whether a process that would start with this environment can be forked now."""
        return at_start(env) == self._at_start and not self._lock.locked()

    def run(self, argv: list[str], cwd, env: dict[str, str], *, answer="", apart=False, timeout=300.0):
        """The exit code, standard output and standard error, in one where they are not kept ``apart``.

        Like ``subprocess.run``, it returns when nobody has the output open any more; then what is left of the process
        group is killed.
        """
        request = {"argv": argv, "cwd": str(cwd), "env": env}
        outputs = [os.pipe() for _ in range(1 + apart)]
        stdin, typed = os.pipe()
        os.write(typed, answer.encode())
        os.close(typed)
        with self._lock:
            theirs = [stdin, outputs[0][1], outputs[-1][1]]
            ask(self._socket, request, theirs)
            for number in set(theirs):
                os.close(number)
            pid = int(self._replies.readline())
            try:
                texts = read_all([end for end, _ in outputs], timeout)
            except TimeoutError:
                os.killpg(pid, signal.SIGKILL)
                self._replies.readline()
                raise
            code = int(self._replies.readline())
        if not psutil.pid_exists(pid):  # one that is there again is another: PIDs come round in minutes here
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        return code, *texts

    def start(self, argv: list[str], cwd, env: dict[str, str]) -> subprocess.Popen[str]:
        """Start a run in a process group of its own, as the caller's own child; its output is text, in one."""
        of, output = os.pipe()
        with self._lock, adopting():
            ask(self._socket, {"argv": argv, "cwd": str(cwd), "env": env, "apart": True}, [0, output, output])
            pid = int(self._replies.readline())
        os.close(output)
        return process_of(argv, pid, stdin=None, stdout=os.fdopen(of), text_mode=True)

    def close(self) -> None:
        self._replies.close()
        self._socket.close()
        self._process.wait()


@contextmanager
def adopting():
    """Children of those who end meanwhile are the caller's own."""
    libc = CDLL(None)
    assert libc.prctl(BECOME_PARENT, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(BECOME_PARENT, 0, 0, 0, 0)


def process_of(command: list[str], pid: int, **more) -> subprocess.Popen:
    """A child that was forked elsewhere, as if it had been started here."""
    process = subprocess.Popen.__new__(subprocess.Popen)
    kept = {"_child_created": True, "_waitpid_lock": Lock(), "_sigint_wait_secs": 0.25, "_communication_started": False}
    vars(process).update(args=command, pid=pid, returncode=None, stderr=None, _input=None, **kept, **more)
    return process


def ask(connection: socket.socket, request, descriptors: list[int]) -> None:
    text = json.dumps(request).encode()
    socket.send_fds(connection, [len(text).to_bytes(8, "big")], descriptors)
    connection.sendall(text)


def asked(connection: socket.socket):
    """What is asked for, and its files; ends the process when nobody can ask any more."""
    size, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    if not size:
        os._exit(0)
    return json.loads(connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)), descriptors


def at_start(env) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_START)}


def read_all(ends: list[int], seconds: float) -> list[str]:
    """All that is written until nobody can write any more."""
    deadline = time.monotonic() + seconds
    texts = {end: bytearray() for end in ends}
    with selectors.DefaultSelector() as waiting:
        for end in ends:
            waiting.register(end, selectors.EVENT_READ)
        while waiting.get_map():
            if not (ready := waiting.select(max(0.0, deadline - time.monotonic()))):
                raise TimeoutError(texts)
            for key, _ in ready:
                if part := os.read(key.fd, 1 << 16):
                    texts[key.fd] += part
                else:
                    waiting.unregister(key.fd)
                    os.close(key.fd)
    return [text.decode().replace("\r\n", "\n").replace("\r", "\n") for text in texts.values()]


def warm_up() -> None:
    """Imports what a run imports, and as pytest does it: a plugin that was imported without its hook is warned of."""
    from _pytest.assertion import install_importhook
    from _pytest.config import get_config

    hook = install_importhook(get_config())
    hook.mark_rewrite("pytest_evalrun", "xdist")
    for name in MODULES:
        importlib.import_module(name)
    sys.meta_path.remove(hook)
    gc.freeze()  # no child looks through it, nor copies its pages


def measured() -> None:
    """Where coverage is to look at what tests start, this process is the first that it can: ours is none of it."""
    if "COVERAGE_PROCESS_CONFIG" in os.environ or "COVERAGE_PROCESS_START" in os.environ:
        import coverage

        coverage.process_startup()


def serve(connection: socket.socket) -> list[str]:
    """Returns in each child, with what it shall be; ends when nobody can ask any more."""
    while True:
        request, descriptors = asked(connection)
        pid = fork_apart() if request.get("apart") else os.fork()
        if pid == 0:
            connection.close()
            os.setsid()
            become(request, descriptors)
            return request["argv"]
        for number in descriptors:
            os.close(number)
        connection.sendall(f"{pid}\n".encode())
        if request.get("apart"):
            continue
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def fork_apart() -> int:
    """Like ``os.fork``, but the child is not ours: who is between us and it has ended."""
    told, telling = os.pipe()
    if (between := os.fork()) == 0:
        if (pid := os.fork()) == 0:
            os.close(told)
            os.close(telling)
            return 0
        os.write(telling, str(pid).encode())
        os._exit(0)
    os.waitpid(between, 0)
    pid = int(os.read(told, 32))
    os.close(told)
    os.close(telling)
    return pid


def become(request, descriptors: list[int]) -> None:
    for target, (number, name) in enumerate(zip(descriptors, ("stdin", "stdout", "stderr"), strict=True)):
        os.dup2(number, target)
        os.close(number)
        old = getattr(sys, name)  # which knows of the file that it was opened on whether one can seek there
        how = {"encoding": old.encoding, "errors": old.errors, "closefd": False}
        new = os.fdopen(target, old.mode, buffering=1 if name == "stderr" else -1, **how)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.path[0] = request["cwd"]
    importlib.invalidate_caches()


class Spares:
    """Children of a run that has not begun yet, as its workers are: they become such ones when xdist starts them.

    All that a worker inherits of the run by then is sent: its environment, directory and standard files.
    """

    def __init__(self, count: int) -> None:
        self._at_start = at_start(os.environ)
        self._waiting: list[tuple[int, socket.socket]] = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            if (pid := os.fork()) == 0:
                for connection in (ours, *(other for _, other in self._waiting)):
                    connection.close()
                be_worker(theirs)
            theirs.close()
            self._waiting.append((pid, ours))

    def take(self, command: list[str]) -> subprocess.Popen[bytes] | None:
        """One in the place of the process of this command, if it can be."""
        usual = [sys.executable, "-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"]
        if command != usual or not self._waiting or at_start(os.environ) != self._at_start:
            return None
        pid, connection = self._waiting.pop(0)
        stdin, to = os.pipe()
        of, stdout = os.pipe()
        with connection:
            ask(connection, {"cwd": str(Path.cwd()), "env": dict(os.environ)}, [stdin, stdout, 2])
        os.close(stdin)
        os.close(stdout)
        return process_of(command, pid, stdin=os.fdopen(to, "wb"), stdout=os.fdopen(of, "rb"))


def be_worker(connection: socket.socket) -> NoReturn:
    """Does what execnet says to each Python that it starts."""
    request, descriptors = asked(connection)
    connection.close()
    become(request, descriptors)
    measured()
    sys.argv, sys.path[0] = ["-c"], ""
    sys.modules["__main__"] = main = ModuleType("__main__")
    exec(eval(sys.stdin.readline()), vars(main))
    sys.exit()


def take_first(spares: Spares) -> None:
    """Makes execnet take them, and start other processes where there is none."""
    from execnet import gateway_io

    def start(self, args, execmodel) -> None:
        pipe = subprocess.PIPE
        self.popen = spares.take(args) or subprocess.Popen(args, stdout=pipe, stdin=pipe)
        gateway_io.Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    gateway_io.Popen2IOMaster.__init__ = start


def workers_in(argv: list[str]) -> int:
    """How many a command line asks for."""
    found = re.search(r" (?:-n ?|--numprocesses[ =])(\d+)\b", " ".join(["", *argv]))
    return int(found[1]) if found else 0


if __name__ == "__main__":
    warm_up()
    program, *sys.argv[1:] = serve(socket.socket(fileno=int(sys.argv[1])))
    if count := workers_in(sys.argv[1:]):
        take_first(Spares(count))
    measured()
    if program == "evalrun":
        import pytest_evalrun.cli

        sys.argv[0] = "-c"
        pytest_evalrun.cli.main()
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
