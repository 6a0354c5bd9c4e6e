"""One budget for all that ask an endpoint: never more than the limit, none starves, and who dies gives back at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.llm.askers import VARIABLE, EndpointDirectory
from pytest_evalrun.llm.budget import Budget
from pytest_evalrun.llm.limiter import Concurrency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

URL = "http://127.0.0.1:8000/v1"
KEY = "sk-of-nobody"

# An asker like the loop: as many requests at a time as there is room for, each told to a file when it begins and ends.
ASKER = """
import heapq, json, os, sys, time
from pathlib import Path
from pytest_evalrun.llm.budget import Budget
from pytest_evalrun.llm.limiter import Concurrency
url, concurrency, directory, witness, seconds = sys.argv[1:]
out = os.open(witness, os.O_WRONLY | os.O_APPEND)
say = lambda what: os.write(out, f"{what} {os.getpid()}\\n".encode())
budget = Budget(url, "sk-of-nobody", Concurrency.parse(concurrency), event=print, directory=Path(directory))
ends = []
while True:
    while ends and ends[0] <= time.monotonic():
        heapq.heappop(ends)
        say("-")
    while len(ends) < budget.room(len(ends)):
        say("+")
        heapq.heappush(ends, time.monotonic() + float(seconds))
    time.sleep(0.002)
"""


class Host:
    """Askers of one endpoint on this host, some of them in processes of their own."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "endpoints"
        self.witness = place / "witness"
        self.witness.touch()
        self.events: list[dict[str, object]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._budgets: list[Budget] = []

    def budget(self, concurrency: int | str = 20, url: str = URL, key: str | None = KEY) -> Budget:
        limits = Concurrency.parse(concurrency)
        self._budgets.append(Budget(url, key, limits, event=self._event, directory=self.directory))
        return self._budgets[-1]

    def _event(self, event: str, **facts: object) -> None:
        self.events.append({"event": event, **facts})

    def start(self, concurrency: int | str = 20, seconds: float = 0.03) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", ASKER, URL, str(concurrency), str(self.directory), str(self.witness)]
        self._processes.append(subprocess.Popen([*argv, str(seconds)]))
        return self._processes[-1]

    def lines(self) -> list[tuple[str, int]]:
        words = (line.split() for line in self.witness.read_text().splitlines())
        return [(what, int(pid)) for what, pid in words]

    def ended(self) -> Counter[int]:
        """How many requests of each process have ended."""
        return Counter(pid for what, pid in self.lines() if what == "-")

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*/*"))

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for budget in self._budgets:
            budget.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.end()


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def most_at_once(lines: list[tuple[str, int]], without: int = 0) -> int:
    """The most requests that were in flight at a time, those of one process left out."""
    in_flight = most = 0
    for what, pid in lines:
        in_flight += 0 if pid == without else 1 if what == "+" else -1
        most = max(most, in_flight)
    return most


def test_one_that_asks_alone_has_all(host):
    """Who asks alone has the whole limit, at its first call."""
    assert host.budget(20).room(0) == 20


def test_two_sessions_share_and_none_starves(host):
    """Two sessions of four workers each with a limit of 20: 20 at a time and never more, and all of them get on."""
    processes = [host.start() for _ in range(8)]
    eventually(lambda: min(host.ended()[process.pid] for process in processes) >= 25)
    assert most_at_once(host.lines()) == 20


def test_killed_process_gives_back_at_once(host):
    """What a killed process had the others have as soon as they look, and its file is gone."""
    first = host.start(seconds=600)
    eventually(lambda: len(host.lines()) == 20)
    budget = host.budget()
    assert budget.room(0) == 0
    first.kill()
    first.wait()
    eventually(lambda: budget.room(0) == 20)
    assert len([name for name in host.files() if name.endswith(".asker")]) == 1


def test_killed_among_many(host):
    """A kill in the middle of everything leaves the others within the limit, and with all of it."""
    processes = [host.start() for _ in range(4)]
    eventually(lambda: min(host.ended()[process.pid] for process in processes) >= 10)
    before = host.lines()
    assert most_at_once(before) <= 20
    processes[0].kill()
    processes[0].wait()
    after = host.ended()
    eventually(lambda: all(host.ended()[process.pid] >= after[process.pid] + 40 for process in processes[1:]))
    assert most_at_once(host.lines(), without=processes[0].pid) == 20


def test_newcomer_gets_its_share_as_requests_end(host):
    """Nobody is interrupted: the places of requests that end go to who has come, until both have as many."""
    first, second = host.budget(), host.budget()
    assert first.room(0) == 20
    assert first.room(20) == 20
    assert second.room(0) == 0
    eventually(lambda: first.room(20) == 10)
    for busy in range(19, 9, -1):
        assert first.room(busy) == 10
        eventually(lambda free=20 - busy: second.room(0) == free)
    assert second.room(10) == 10
    assert first.room(10) == 10


def test_what_one_does_not_want_goes_to_the_others(host):
    """Who uses four of its places leaves the rest to who can use them, and gets them back when it can."""
    first, second = host.budget(), host.budget()

    def rooms(busy: int) -> tuple[int, int]:
        mine = first.room(busy)
        return mine, second.room(min(20, second.room(0)))

    first.room(0)
    eventually(lambda: rooms(4) == (6, 14))
    eventually(lambda: (found := rooms(first.room(6)))[0] == 10 == found[1])


def test_more_askers_than_places(host):
    """With two places for five, each has its turn again and again, and never more than two have one."""
    budgets = [host.budget(2) for _ in range(5)]
    turns: Counter[int] = Counter()
    busy = [0] * 5

    def go_on() -> bool:
        for number, budget in enumerate(budgets):
            room = budget.room(busy[number])
            turns[number] += room > busy[number] == 0
            busy[number] = 0 if busy[number] and turns[number] % 2 else min(room, 1)
            assert sum(busy) <= 2
        return min(turns[number] for number in range(5)) >= 2

    eventually(go_on)


def test_idle_asker_keeps_nothing_from_others(host):
    """Who has nothing to ask for a while is no reason for others to wait."""
    idle, busy = host.budget(), host.budget()
    idle.room(0)
    eventually(lambda: (idle.room(0), busy.room(busy.room(0)))[1] == 20)


def test_close_gives_everything_back(host):
    """Who closes its budget has nothing any more, and may come back."""
    first, second = host.budget(), host.budget()
    first.room(20)
    first.close()
    first.close()
    assert second.room(0) == 20
    second.close()
    assert first.room(0) == 20


def test_forked_child_gives_nothing_back(host):
    """A child that closes what it has inherited takes nothing from its parent."""
    first, second = host.budget(), host.budget()
    first.room(0)
    first.room(20)
    child = os.fork()
    if not child:
        first.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert second.room(0) == 0


def test_other_key_or_endpoint_is_another_budget(host):
    """Limits are those of an endpoint and a key; a slash at the end makes no other endpoint."""
    assert host.budget().room(0) == 20
    assert host.budget(key=None).room(0) == 20
    assert host.budget(url="http://127.0.0.1:8001/v1").room(0) == 20
    assert host.budget(url=f"{URL}/").room(0) == 0


def test_the_smallest_limit_counts_while_it_is_there(host):
    """Of two limits for one endpoint the smaller one counts for both, until its owner has ended."""
    small, large = host.budget(5), host.budget(64)
    assert small.room(0) == 5
    assert large.room(0) == 0
    small.close()
    eventually(lambda: large.room(0) == 64)


def test_adaptive_limit_is_shared(host):
    """What one learns of the endpoint all keep to, and whoever comes later begins with it."""
    first, second = host.budget("10-20-100"), host.budget("10-20-100")
    assert first.room(0) == 20
    first.limited(None)
    assert first.room(0) <= 16
    assert host.events == [
        {
            "event": "limit_changed",
            "endpoint": URL,
            "limit": 16,
            "was": 20,
            "reason": "a rate limit with 0 others in flight",
        }
    ]
    first.close()
    assert second.room(0) == 16
    second.close()
    assert host.budget("10-20-100").room(0) == 16


def test_adaptive_limit_grows_by_answers_to_all(host):
    """A round is of everybody's answers: half of it each raises the limit for both."""
    first, second = host.budget("10-20-100"), host.budget("10-20-100")
    eventually(lambda: (first.room(10), second.room(second.room(0))) == (10, 10))
    for _ in range(10):
        first.succeeded(True)
        second.succeeded(True)
    eventually(lambda: (first.room(10), second.room(10)) == (20, 20))


def test_answers_after_a_retry_are_neutral(host):
    """Only answers at the first try raise the limit."""
    budget = host.budget("10-20-100")
    budget.room(0)
    for _ in range(100):
        budget.succeeded(False)
    budget.room(20)
    time.sleep(0.06)
    assert budget.room(20) == 20
    for _ in range(20):
        budget.succeeded(True)
    eventually(lambda: budget.room(20) == 40)


def test_trouble_pauses_growth(host):
    """Among answers with a server's error the limit stays, until a whole round is clean."""
    budget = host.budget("10-20-100")
    budget.room(0)
    for _ in range(19):
        budget.succeeded(True)
    budget.troubled()
    time.sleep(0.06)
    assert budget.room(20) == 20
    for _ in range(19):
        budget.succeeded(True)
    time.sleep(0.06)
    assert budget.room(20) == 20
    budget.succeeded(True)
    eventually(lambda: budget.room(20) == 40)


def test_wave_of_refusals_teaches_the_limit(host):
    """Of 40 in flight 20 are refused: there is room for the 20 that were not, and no more."""
    budget = host.budget("10-40-100")
    budget.room(0)
    assert budget.room(40) == 40
    for _ in range(20):
        budget.limited(1.0)
    assert budget.room(20) == 20


def test_given_number_is_not_changed_by_refusals(host):
    """A fixed limit is the user's word."""
    budget = host.budget(20)
    budget.room(0)
    budget.limited(60.0)
    assert budget.room(20) == 20
    assert host.events == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"limit": "x"}', b"\0" * 100], ids=repr)
def test_damaged_limit_is_found_out_anew(host, damage):
    """What was learned is a help: where it cannot be read, the start counts again."""
    budget = host.budget("10-20-100")
    budget.room(0)
    budget.limited(None)
    budget.room(0)
    (state,) = host.directory.glob("*/limiter.json")
    state.write_bytes(damage)
    budget.close()
    assert budget.room(0) == 20


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"\xff" * 50, b'{"taken": -5}\n'], ids=repr)
def test_damaged_file_of_an_asker_is_written_anew(host, damage):
    """An asker whose file was damaged tells its needs again at its next look."""
    first, second = host.budget(), host.budget()
    first.room(0)
    (file,) = host.directory.glob("*/*.asker")
    file.write_bytes(damage)
    eventually(lambda: (first.room(10), second.room(second.room(0))) == (10, 10))


def test_directory_that_was_removed_is_made_again(host):
    """Somebody who cleans up /tmp ends no evaluation, and who has places comes back with them."""
    first, second = host.budget(), host.budget()
    first.room(0)
    first.room(20)
    for path in [*host.directory.glob("*/*"), *host.directory.glob("*"), host.directory]:
        path.rmdir() if path.is_dir() else path.unlink()
    eventually(lambda: first.room(20) == 20 and len(host.files()) == 2)
    assert second.room(0) == 0


def test_files_are_held_by_somebody_who_was_stopped(host):
    """Who is stopped in the middle of a look holds up nobody: the others keep the room that they had."""
    budget = host.budget()
    budget.room(0)
    directory = EndpointDirectory(URL, KEY, host.directory)
    with directory.alone() as alone:
        assert alone
        rooms = [budget.room(20) for _ in range(3)]
    assert rooms == [20] * 3
    newcomer = host.budget()
    with directory.alone():
        assert newcomer.room(0) == 0


def test_refusal_that_nobody_could_be_told_of_sends_no_more(host):
    """Who was refused and cannot look at the files sends nothing more until it can."""
    budget = host.budget("10-20-100")
    budget.room(0)
    with EndpointDirectory(URL, KEY, host.directory).alone():
        budget.limited(None)
        assert budget.room(15) == 15
    eventually(lambda: budget.room(15) == 16)


def test_answers_may_come_from_another_thread(host):
    """What is told by the thread of the requests is counted, every one."""
    budget = host.budget("10-20-100")
    budget.room(0)
    threads = [threading.Thread(target=lambda: [budget.succeeded(True) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: budget.room(20) == 40)


def test_room_is_known_without_a_look(host, monkeypatch):
    """Within a look's time a call touches no file."""
    budget = host.budget(64)
    budget.room(0)
    monkeypatch.setattr(EndpointDirectory, "alone", lambda _self: pytest.fail("it looked"))
    monkeypatch.setattr("pytest_evalrun.llm.budget.time.monotonic", lambda: 0.0)
    assert {budget.room(busy) for busy in range(65)} == {64}


def test_key_stands_nowhere(host):
    """Neither names nor contents nor events hold the key, and events no user or query of the URL."""
    budget = host.budget("10-20-100", url=f"http://me:{KEY}@127.0.0.1:8000/v1?key={KEY}")
    budget.room(0)
    budget.limited(None)
    budget.room(0)
    texts = [str(path) + (path.read_text() if path.is_file() else "") for path in host.directory.rglob("*")]
    assert not [text for text in [*texts, json.dumps(host.events)] if KEY in text]
    assert host.events[0]["endpoint"] == URL


def test_directories_that_nobody_uses_are_swept(host):
    """An endpoint that nobody has asked for a day leaves nothing, and one that is asked keeps its directory."""
    host.budget(url="http://127.0.0.1:1/v1").room(0)
    unused = host.budget(url="http://127.0.0.1:2/v1")
    unused.room(0)
    unused.close()
    for path in host.directory.iterdir():
        os.utime(path, (0, 0))
    host.budget()
    left = [len(list(path.iterdir())) for path in host.directory.iterdir()]
    assert sorted(left) == [0, 2]


def link(path: Path) -> None:
    path.symlink_to(path.parent)


def file(path: Path) -> None:
    path.touch()


def open_to_others(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


def ours(path: Path) -> None:
    path.mkdir(mode=0o700)


@pytest.mark.parametrize(
    ("make", "user", "words"),
    [
        pytest.param(link, os.geteuid(), "is a symbolic link", id="link"),
        pytest.param(file, os.geteuid(), "cannot be made", id="file"),
        pytest.param(open_to_others, os.geteuid(), "chmod 700", id="open to others"),
        pytest.param(ours, 12345, f"belongs to user {os.geteuid()}", id="of another user"),
    ],
)
def test_directory_that_others_may_have_made_is_not_trusted(tmp_path, monkeypatch, make, user, words):
    """What is no directory of ours alone is refused by name, with the variable that names another."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "endpoints"))
    make(tmp_path / "endpoints")
    monkeypatch.setattr("pytest_evalrun.llm.askers.os.geteuid", lambda: user)
    with pytest.raises(ConfigError, match=rf"(?s)endpoints: .*({words}).*{VARIABLE}"):
        Budget(URL, KEY, Concurrency.parse(20), event=print)
