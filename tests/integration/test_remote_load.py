"""Boards under load and over bad links: many files, large models, many workers, boards that are cut off."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from badlink import FAR, Relay, Wire
from sshd import QUICK, Sshd, until

import pytest_evalrun
from pytest_evalrun.errors import PairError
from pytest_evalrun.remote.boards.survey import health
from pytest_evalrun.remote.faults import LinkLost
from pytest_evalrun.remote.link import Limits
from pytest_evalrun.remote.models import ModelCache
from pytest_evalrun.remote.places import claim, left_behind
from pytest_evalrun.remote.program import RemoteProgram
from pytest_evalrun.remote.tarstream import TarEntry
from pytest_evalrun.remote.transfer import download, upload
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch, tmp_path):
    """Neither the agent nor the keys of whoever runs the tests open a door."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_connection_outlives_half_a_gigabyte(tmp_path):
    """paramiko asks for new keys every 512 MiB, and dies where that meets the end of a channel: ours does not ask.

    At 1.05 times that amount plain paramiko failed each time (paramiko#822).
    """
    with Sshd(tmp_path / "board") as board:
        connection = board.connection(limits=Limits())
        for _ in range(2):
            with connection.start(f"head -c {int(1.05 * (1 << 29))} /dev/zero") as command:
                size = sum(map(len, command.output(60)))
                assert (command.code(60), size) == (0, int(1.05 * (1 << 29)))
        assert connection.run("echo alive").text == "alive\n"
        assert connection.connects == 1


def test_ten_thousand_small_files(tmp_path):
    """A batch of 10,000 files goes over as one stream, and comes back."""
    place = tmp_path / "files"
    place.mkdir()
    for number in range(10_000):
        (place / f"{number}.txt").write_bytes(b"%d\n" % number)
    entries = [TarEntry(place / f"{number}.txt", f"{number % 10}/{number}.txt") for number in range(10_000)]
    with Sshd(tmp_path / "board") as board:
        connection = board.connection(limits=Limits())
        assert upload(connection, entries, f"{board.home}/task_x/in").files == 10_000
        assert download(connection, f"{board.home}/task_x/in", tmp_path / "out").files == 10_000
    for number in range(0, 10_000, 7):
        assert (tmp_path / "out" / str(number % 10) / f"{number}.txt").read_bytes() == b"%d\n" % number


def test_a_large_model_takes_no_memory(tmp_path):
    """However large a model is, the worker that uploads it stays below 100 MB: less than half of this one."""
    size = 240 << 20
    with (tmp_path / "model").open("wb") as file:
        file.truncate(size)
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(bytes(1 << 20))
    code = """
import resource, sys
from pathlib import Path
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.hosts import Host
from pytest_evalrun.remote.models import ModelCache
with Connection(eval(sys.argv[1])) as board:
    print(ModelCache(board).ensure(Path(sys.argv[2]), "m_model.bin", sys.argv[3]).uploaded)
if sys.platform == "darwin":
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
else:  # the other one remembers what its parent was
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) * 1024)
"""
    with Sshd(tmp_path / "board") as board:
        argv = [sys.executable, "-c", code, repr(board.host()), str(tmp_path / "model"), digest.hexdigest()]
        env = os.environ | {"PYTHONPATH": str(Path(pytest_evalrun.__file__).parents[1])}
        ran = subprocess.run(argv, capture_output=True, text=True, check=True, env=env)
        uploaded, peak = map(int, ran.stdout.split())
        assert uploaded == size
        assert peak < 100 << 20
        (board.home / ".model_cache" / "m_model.bin").unlink()
    (tmp_path / "model").unlink()


class Fleet:
    """Boards behind relays, the pool of them, and what every worker of a run does with them."""

    def __init__(self, place: Path, count: int) -> None:
        self.place = place
        self.boards = [Sshd(place / f"board{number}").start() for number in range(count)]
        self.relays = [Relay(board.port) for board in self.boards]
        self.devices = [Device(f"b{number}", f"b{number}") for number in range(count)]
        self.uploads: list[str] = []
        self.done: dict[int, str] = {}
        for board, relay in zip(self.boards, self.relays, strict=True):
            board.know(board.host_key, f"[127.0.0.1]:{board.port},[127.0.0.1]:{relay.port}")
        (place / "model").write_bytes(os.urandom(500_000))
        self.digest = hashlib.sha256((place / "model").read_bytes()).hexdigest()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for board, relay in zip(self.boards, self.relays, strict=True):
            relay.close()
            board.__exit__(None, None, None)

    def worker(self, pairs: list[int]) -> None:
        """As the adapter does: a lease, a connection, the model, batch by batch; another board where one drops."""
        limits = replace(QUICK, reconnect=1.0)
        connections: dict[str, object] = {}

        def connect(device: Device):
            number = self.devices.index(device)
            if device.name not in connections:
                relay = self.relays[number]
                connections[device.name] = self.boards[number].connection(port=relay.port, limits=limits)
            return connections[device.name]

        pool = DevicePool(
            LeaseDirectory(self.place / "slots"),
            [replace(device, slots=2) for device in self.devices],
            health=lambda device: health(connect(self.devices[self._index(device)])),
            notes=self.place / "notes",
        )
        while True:
            try:
                pair = pairs.pop()
            except IndexError:
                return
            while pair not in self.done:
                with pool.acquire({}, say=lambda _: None, check=lambda: None) as lease:
                    try:
                        self.evaluate(connect(self.devices[self._index(lease.device)]), lease.device.name, pair)
                    except LinkLost as error:
                        pool.set_aside(lease.device, str(error))

    def _index(self, device: Device) -> int:
        return [each.name for each in self.devices].index(device.name)

    def evaluate(self, connection, name: str, pair: int) -> None:
        cached = ModelCache(connection).ensure(self.place / "model", "m_model.bin", self.digest)
        if cached.uploaded:
            self.uploads.append(name)
        work = claim(connection, f"task_m_{pair}")
        source = self.place / f"in{pair}"
        source.write_text(f"input {pair}")
        upload(connection, [TarEntry(source, "x")], f"{work.path}/in")
        script = 'mkdir out && sleep 0.3 && tr a-z A-Z < in/x > out/y && [ -s "$1" ]'
        with RemoteProgram(connection, ["sh", "-c", script, "sh", cached.path], cwd=work.path) as program:
            assert program.wait() == 0
        download(connection, f"{work.path}/out", self.place / f"out{pair}")
        work.remove()
        self.done[pair] = (self.place / f"out{pair}" / "y").read_text()


def test_five_workers_three_boards_one_is_cut_off(tmp_path):
    """Pairs of a board that is cut off in the middle go on on the others; each model goes over once a board.

    Nothing is left on the boards that stayed, and on the one that was lost nothing runs any more.
    """
    with Fleet(tmp_path, 3) as fleet:
        pairs = list(range(30))
        workers = [threading.Thread(target=fleet.worker, args=(pairs,)) for _ in range(5)]
        for worker in workers:
            worker.start()
        until(lambda: len(fleet.done) > 5)
        fleet.relays[0].cut(refuse=True)
        for worker in workers:
            worker.join(120)
        assert fleet.done == {number: f"INPUT {number}" for number in range(30)}
        assert sorted(set(fleet.uploads)) == sorted(fleet.uploads)
        for board in fleet.boards[1:]:
            assert left_behind(board.connection()) == []
            assert not list(board.home.glob("task_*"))
        lost = str(fleet.boards[0].home)
        until(lambda: not [p for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(lost)])


def test_no_board_left_is_an_error_at_once(tmp_path):
    """When the last board is lost every pair that is left says so, with the reason of each board."""
    with Fleet(tmp_path, 2) as fleet:
        for relay in fleet.relays:
            relay.cut(refuse=True)
        with pytest.raises(PairError, match=r"no device is left: device b0: set aside: .*device b1: set"):
            fleet.worker([1, 2])


def test_killed_session_leaves_what_the_next_one_cleans(tmp_path):
    """kill -9 of a worker: its program on the board ends within 30 s, and the next run takes its directory over."""
    code = """
import sys
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.hosts import Host
from pytest_evalrun.remote.places import claim
from pytest_evalrun.remote.program import RemoteProgram
board = Connection(eval(sys.argv[1]))
work = claim(board, "task_a_b")
program = RemoteProgram(board, ["sh", "-c", "trap '' TERM; touch begun; sleep 300; touch late"], cwd=work.path)
program.wait()
"""
    with Sshd(tmp_path / "board") as board:
        env = os.environ | {"PYTHONPATH": str(Path(pytest_evalrun.__file__).parents[1])}
        worker = subprocess.Popen([sys.executable, "-c", code, repr(board.host())], env=env)
        place = board.home / "task_a_b"
        until((place / "begun").exists)
        worker.kill()
        worker.wait()
        until(lambda: not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(place)], 30)
        connection = board.connection()
        until(lambda: left_behind(connection) == ["task_a_b"])  # its watch is taken away last
        claim(connection, "task_a_b").remove()
        assert list(board.home.iterdir()) == []


if os.geteuid() == 0 and sys.platform == "linux":  # only root makes networks

    @pytest.fixture
    def far_board(tmp_path):
        """A board at the other end of a wire that a test makes bad."""
        with Wire(tmp_path) as wire:
            board = Sshd(tmp_path / "board", address=FAR)
            board.start(prefix=wire.far)
            # A link that is slow needs longer limits than loopback, and still short ones.
            limits = Limits(connect=15.0, beat=0.5, quiet=4.0, watch=4, grace=1, reconnect=20.0)
            connection = board.connection(limits=limits)
            wire.run(lambda: until(lambda: health(connection) is None))
            yield wire, board, connection
            connection.close()
            board.stop()

    @pytest.mark.parametrize(
        "how",
        [
            pytest.param({"delay_ms": 25}, id="50 ms"),
            pytest.param({"delay_ms": 25, "loss": 0.02}, id="50 ms, 2 % lost"),
            pytest.param({"delay_ms": 10, "rate_mbit": 16}, id="16 Mbit"),
        ],
    )
    def test_slow_links_are_slow_and_nothing_else(far_board, tmp_path, how):
        """Delay, loss and little room change no byte, and are not taken for a dead link."""
        wire, board, connection = far_board
        wire.set(**how)
        files = []
        for number in range(200):
            path = tmp_path / f"file{number}"
            path.write_bytes(os.urandom(8_000 + number))
            files.append(TarEntry(path, str(number)))
        wire.run(lambda: upload(connection, files, f"{board.home}/task_x"))
        wire.run(lambda: download(connection, f"{board.home}/task_x", tmp_path / "out"))
        for entry in files:
            assert (tmp_path / "out" / entry.name).read_bytes() == entry.path.read_bytes()
        assert connection.connects == 1

    def test_short_outage_is_waited_out(far_board, tmp_path):
        """A second without a link is no loss: the transfer goes on where it was."""
        wire, board, connection = far_board
        wire.set(rate_mbit=40)
        path = tmp_path / "large"
        path.write_bytes(os.urandom(8 << 20))
        wire.run(lambda: connection.facts)
        threading.Timer(0.5, lambda: wire.set(down=True)).start()
        threading.Timer(1.5, lambda: wire.set(down=False)).start()
        wire.run(lambda: upload(connection, [TarEntry(path, "x")], f"{board.home}/task_x"))
        assert (board.home / "task_x" / "x").read_bytes() == path.read_bytes()
        assert connection.connects == 1

    def test_cut_link_is_noticed_on_both_sides(far_board):
        """A cable that is pulled: who waits is told within seconds, the program ends, and all goes on afterwards."""
        wire, board, connection = far_board
        program = wire.run(lambda: RemoteProgram(connection, ["sleep", "300"], cwd=str(board.home)))
        wire.set(down=True)
        with pytest.raises(LinkLost, match=r"nothing was heard|connection"):
            program.wait(60)
        until(lambda: not psutil.pid_exists(program.pid), 30)
        threading.Timer(1.0, lambda: wire.set(down=False)).start()
        assert wire.run(lambda: connection.run("echo again")).text == "again\n"
        assert connection.connects == 2
