"""What transfers over SSH take, against the system's own clients, to a real sshd on this host."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import wait
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.sshd import Sshd

LARGE = 512 << 20
FILES = 5_000
LEAST = 0.8
CHECKED = ", with hash"
CALLS = 50
FEW_AND_MANY = (20, 220)
MOST_PER_BATCH = 0.015
OVERLAP = 1.15
GCM = ("-c", "aes128-gcm@openssh.com")


def measure(scale: Scale, place: Path) -> list[Figure]:
    """A large file, many small ones, a model that is there already, batches of nothing, and three things at once."""
    tests = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(tests), str(tests / "integration")]
    from sshd import Sshd

    with Sshd(place / "board") as board, Clients(board) as clients:
        return [
            *_large(board, clients, place, scale.rounds),
            *_small(board, clients, place, scale.rounds),
            _second_run(board, place),
            _batch(board),
            _pipeline(board, place),
            _overlap(board, place, scale.rounds),
        ]


class Clients:
    """The system's own, over one connection that is kept, as ours is."""

    def __init__(self, board: Sshd) -> None:
        control = board.place / "control"
        self._words = [
            *("-p", str(board.port), "-i", str(board.key), *GCM),
            *("-o", f"UserKnownHostsFile={board.known_hosts}", "-o", "IdentitiesOnly=yes"),
            *("-o", f"ControlPath={control}", "-o", "LogLevel=ERROR"),
        ]
        self.target = f"{board.host().user}@{board.address}"

    def __enter__(self) -> Clients:
        subprocess.run([*self.ssh("-fNM")], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self.ssh("-q", "-O", "exit")], check=False, capture_output=True)

    def ssh(self, *more: str) -> list[str]:
        return ["ssh", *self._words, *more, self.target]

    def scp(self, path: Path, target: str) -> list[str]:
        return [
            "scp",
            "-q",
            *(["-P" if word == "-p" else word for word in self._words]),
            str(path),
            f"{self.target}:{target}",
        ]

    def rsync(self, path: str, target: str) -> list[str]:
        return ["rsync", "-aW", "-e", " ".join(["ssh", *self._words]), path, f"{self.target}:{target}"]

    def cat(self, path: Path, command: str) -> None:
        with path.open("rb") as file:
            subprocess.run([*self.ssh(), command], stdin=file, check=True)

    def tar(self, place: Path, command: str) -> None:
        with subprocess.Popen(["tar", "-cf", "-", "-C", str(place), "."], stdout=subprocess.PIPE) as tar:
            subprocess.run([*self.ssh(), command], stdin=tar.stdout, check=True)


def _large(board: Sshd, clients: Clients, place: Path, rounds: int) -> list[Figure]:
    from pytest_evalrun.remote.transfer import upload_file

    path = place / "large"
    path.write_bytes(os.urandom(1 << 20) * (LARGE >> 20))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    connection = board.connection()
    home = connection.facts.home
    theirs = {
        "scp": lambda: _run(clients.scp(path, f"{home}/scp")),
        "rsync": lambda: _run(clients.rsync(str(path), f"{home}/rsync")),
        "cat | ssh": lambda: clients.cat(path, f"cat > {home}/cat"),
        f"cat | ssh{CHECKED}": lambda: clients.cat(path, f"tee {home}/cat2 | {connection.facts.hash} > {home}/sum"),
    }
    ours = {"evalrun": lambda: upload_file(connection, path, f"{home}/ours", digest)}
    return _against(f"SSH: a file of {LARGE >> 20} MB", ours | theirs, rounds, lambda: _empty(board.home))


def _small(board: Sshd, clients: Clients, place: Path, rounds: int) -> list[Figure]:
    from pytest_evalrun.remote.tarstream import TarEntry
    from pytest_evalrun.remote.transfer import upload

    files = place / "files"
    files.mkdir()
    for number in range(FILES):
        (files / f"{number:05}.bin").write_bytes(os.urandom(4_000 + number * 16 % 16_000))
    entries = [TarEntry(file, file.name) for file in sorted(files.iterdir())]
    connection = board.connection()
    home = connection.facts.home
    theirs = {
        "rsync": lambda: _run(clients.rsync(f"{files}/", f"{home}/rsync/")),
        "tar | ssh": lambda: clients.tar(files, f"mkdir {home}/tar && tar -xf - -C {home}/tar"),
        f"tar | ssh{CHECKED}": lambda: clients.tar(
            files, f"mkdir {home}/tar2 && tar -xf - -C {home}/tar2 && cd {home}/tar2 && sha256sum * > {home}/sums"
        ),
    }
    ours = {"evalrun": lambda: upload(connection, entries, f"{home}/task_ours")}
    return _against(f"SSH: {FILES:,} files of 4 to 20 KB", ours | theirs, rounds, lambda: _empty(board.home))


def _second_run(board: Sshd, place: Path) -> Figure:
    from pytest_evalrun.remote.models import ModelCache

    path = place / "model"
    path.write_bytes(os.urandom(32 << 20))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    first, first_seconds = _timed(lambda: ModelCache(board.connection()).ensure(path, "m_model.bin", digest).uploaded)
    second, seconds = _timed(lambda: ModelCache(board.connection()).ensure(path, "m_model.bin", digest).uploaded)
    shown = (f"{second} bytes", "", "0 bytes")
    return Figure(f"SSH: a model of {first >> 20} MB, second run", seconds, first_seconds, *shown, second == 0 < first)


def _batch(board: Sshd) -> Figure:
    """What a batch costs that has nothing to do: a program started, heard and ended."""
    from pytest_evalrun.remote.program import RemoteProgram

    connection = board.connection()
    connection.connect()

    def once() -> None:
        with RemoteProgram(connection, ["true"], cwd="/") as program:
            program.wait(30)

    used = time.process_time()
    seconds = statistics.median(_timed(once)[1] for _ in range(CALLS))
    processor = (time.process_time() - used) / CALLS
    shown = (f"{seconds * 1000:.1f} ms", f"{processor * 1000:.1f} ms", f"<= {MOST_PER_BATCH * 1000:.0f} ms")
    return Figure("SSH: a program that does nothing, connection kept", seconds, 0.0, *shown, seconds <= MOST_PER_BATCH)


def _pipeline(board: Sshd, place: Path) -> Figure:
    """What a batch costs beside its program in a real run; what a pair costs once is taken off by a shorter one."""
    from boardsuite import BoardSuite

    spent: dict[int, float] = {}
    for samples in FEW_AND_MANY:
        suite = BoardSuite(place / f"batches{samples}", [board], samples=samples)
        suite.write(max_batch_size=1)
        ran = suite.pytest("-n1", EVALRUN_SLOTS_DIR=str(place / "slots"))
        if ran.code:
            raise RuntimeError(str(ran))
        (result,) = (suite.run / "results").rglob("*.json")
        spent[samples] = json.loads(result.read_text())["seconds"]["predict"]
    few, many = FEW_AND_MANY
    (place / "list").write_text(f"{suite.evals / 'a' / '0.txt'}\n")
    words = ["sh", "ask.sh", "m1.txt", str(place / "list"), str(place)]
    program = statistics.median(
        _timed(lambda: subprocess.run(words, cwd=suite.evals, check=True))[1] for _ in range(CALLS)
    )
    batch = (spent[many] - spent[few]) / (many - few)
    shown = (f"{(batch - program) * 1000:.1f} ms", "", f"<= {MOST_PER_BATCH * 1000:.0f} ms")
    return Figure(
        "SSH: a batch of one file, its program taken off", batch, program, *shown, batch - program <= MOST_PER_BATCH
    )


def _overlap(board: Sshd, place: Path, rounds: int) -> Figure:
    """Programs as long as the transfers: the longer of the two is the bound."""
    from pytest_evalrun.remote.overlap import Overlap
    from pytest_evalrun.remote.program import RemoteProgram
    from pytest_evalrun.remote.tarstream import TarEntry
    from pytest_evalrun.remote.transfer import upload

    path = place / "batch"
    path.write_bytes(os.urandom(32 << 20))
    connection = board.connection()
    home = connection.facts.home
    count = 10

    def target(number: int) -> str:
        return f"{home}/task_overlap_{number}"

    def send(number: int) -> None:
        upload(connection, [TarEntry(path, "input")], target(number))

    def run(number: int) -> None:
        with RemoteProgram(connection, ["sleep", f"{seconds:.3f}"], cwd=target(number)) as program:
            program.wait(60)

    def fetch(number: int) -> int:
        connection.must("tidying", 'rm -rf -- "$1"', target(number))
        return number

    def at_once() -> None:
        with closing(Overlap[int]("upload", "run", "fetch")) as overlap:
            batches = [[partial(stage, number) for stage in (send, run, fetch)] for number in range(count)]
            wait([overlap.submit(*stages) for stages in batches])

    seconds = 0.0
    _empty(board.home)  # what was written before is on the disk by now
    for number in range(3):
        send(number)
    pairs = []
    for _ in range(rounds):
        _, alone = _timed(lambda: [send(number) for number in range(count)])
        seconds = alone / count
        _, spent = _timed(at_once)
        pairs.append((spent, alone + seconds))  # the first batch has nothing to run beside
    spent, bound = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
    found = spent / bound
    shown = (f"{found:.2f} x", "", f"<= {OVERLAP:g} x")
    return Figure("SSH: uploads beside programs as long as they, bound", spent, bound, *shown, found <= OVERLAP)


def _against(
    what: str, commands: dict[str, Callable[[], object]], rounds: int, tidy: Callable[[], None]
) -> list[Figure]:
    """Ours, which comes first, against the best of theirs, and the best that makes a hash on arrival as we do."""
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(rounds + 1):
        for name, command in commands.items():
            tidy()
            seconds = _timed(command)[1]
            if round_:  # the first fills caches
                spent[name].append(seconds)
    ours, *others = spent
    checked = [name for name in others if name.endswith(CHECKED)]
    return [_ratio(f"{what}, {kind}", spent, ours, names) for kind, names in (("any", others), ("checked", checked))]


def _ratio(what: str, spent: dict[str, list[float]], ours: str, others: Sequence[str]) -> Figure:
    """The ratio of speeds in the same round."""
    middle = {name: statistics.median(times) for name, times in spent.items()}
    best = min(others, key=middle.__getitem__)
    found = statistics.median(theirs / mine for mine, theirs in zip(spent[ours], spent[best], strict=True))
    shown = (f"{found:.2f} x", best.removesuffix(CHECKED), f">= {LEAST:g} x")
    return Figure(what, middle[ours], middle[best], *shown, found >= LEAST)


def _timed(call: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def _run(words: Sequence[str]) -> None:
    subprocess.run(words, check=True)


def _empty(home: Path) -> None:
    subprocess.run(["sh", "-c", 'rm -rf -- "$1"/* && sync -f "$1"', "sh", str(home)], check=True)
