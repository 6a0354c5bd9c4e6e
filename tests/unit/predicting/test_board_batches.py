"""Batches and servers on a real board: what goes over, what is told, what comes back."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from sshd import Sshd, until

from pytest_evalrun.children.faults import ChildError, ModelError
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import SampleError
from pytest_evalrun.predicting.batches import AT_ONCE, ProgramBay, ServerBay, StagedSession
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.programs.board import BoardWork
from pytest_evalrun.programs.boardplace import BoardPlace
from pytest_evalrun.programs.running import ProgramIO
from pytest_evalrun.programs.server import BoardServer
from pytest_evalrun.programs.sink import OutputSink
from pytest_evalrun.remote.faults import LinkLost
from pytest_evalrun.remote.places import work_name
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

ODD = 'it\'s $(touch pwned) `touch pwned` "x"'
# Each line of the batch comes back as it was told, and the file that it names.
ECHO = """\
while IFS= read -r f; do
    echo "$f" >> "$2/told.txt"
    [ -f "$f" ] && cp "$f" "$2/"
done < "$1"
[ -e "$2/bad" ] && { echo "no bad ones"; exit 3; }
exit 0
"""
TABLE = """\
import json, sys
with open(sys.argv[2] + "/a.jsonl", "w") as out:
    for line in open(sys.argv[1]):
        row = json.loads(line)
        print(json.dumps({"id": row["id"], "answer": row["input"]["x"]}), file=out)
"""
SERVER = """\
import json, sys

for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "load":
        answer = {"type": "ready"}
    elif message["type"] == "predict":
        text = open(message["batch"][0]["input"]).read()
        if text == "die":
            sys.exit("dying")
        if text == "nonsense":
            print("nonsense", flush=True)
            continue
        answer = {"type": "predictions", "predictions": [open(s["input"]).read() for s in message["batch"]]}
    else:
        break
    print(json.dumps(answer), flush=True)
"""


class OnBoard:
    """A board without a model."""

    device, path = "b1", ""

    def __init__(self, connection):
        self.connection = connection
        self.losses = []

    def ready(self):
        self.connection.link()
        return self.connection.connects

    def recover(self, error, losses):
        self.losses.append(losses)
        self.connection.link()

    def interrupt(self):
        self.connection.close()


class Bench:
    """A pair on a board, and the sessions that ask for it."""

    def __init__(self, board, root, context):
        self.root = root
        self.data = root / "data"
        self.data.mkdir()
        self.board = board
        self.context = context
        self.said = []
        self.on_board = OnBoard(board.connection())
        self.sessions = []
        for name, text in (("echo.sh", ECHO), ("table.py", TABLE), ("serve.py", SERVER)):
            (root / name).write_text(text)

    def samples(self, **contents):
        for name, content in contents.items():
            (self.data / name).write_text(content)
        return [Sample(n, name, self.data / name) for n, name in enumerate(contents)]

    def work(self, command, results):
        layer = Layer("suite", "x", {"adapter": "ssh", "ask": "batch", "command": command, "results": results})
        pair = Pair("s", str(self.root), Task(ODD, None, str(self.root)), Dataset("d", str(self.data)), (layer,))
        paths = paths_of(self.context.paths, pair)
        paths.fingerprint.parent.mkdir(parents=True, exist_ok=True)
        paths.fingerprint.touch()
        return PairWork(pair, paths, None, self.context, range(9))

    def bays(self, command="sh echo.sh {batch} {output}", results=None):
        work = self.work(command, results)
        self.board_work = BoardWork(self.on_board, work.pair, work_name(work.pair.key.task, "d"))
        output = self.root / "output"
        output.mkdir(exist_ok=True)
        sink = OutputSink(self.said.append, None, "")
        bays = []
        for number in range(AT_ONCE):
            list_file = self.root / "aside" / f"list{number}.txt"
            place = BoardPlace(self.board_work, work.pair, ProgramIO(), output, number=number, list_file=list_file)
            bays.append(ProgramBay(work, place, output, sink, lambda: None))
        return bays

    def session(self, *command, results=None):
        return self.opened(self.bays(*command, results=results))

    def server(self):
        work = self.work("python3 serve.py", FILES)
        self.board_work = BoardWork(self.on_board, work.pair, work_name(work.pair.key.task, "d"))
        places = [BoardPlace(self.board_work, work.pair, ProgramIO(), None, number=n) for n in range(AT_ONCE)]
        output = self.said.append
        server = BoardServer("m", ["python3", "serve.py"], {}, work=self.board_work, env={}, output=output)
        server.load()
        return server, [ServerBay(place, server.predict) for place in places]

    def opened(self, bays):
        self.sessions.append(StagedSession(bays, self.on_board, ExitStack()))
        return self.sessions[-1]


def ask(session, batch):
    return session.submit(batch).result(60).predictions


@pytest.fixture
def bench(tmp_path, monkeypatch, context):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / "suite"
    root.mkdir()
    with Sshd(tmp_path / "board") as board:
        bench = Bench(board, root, context)
        yield bench
        for session in bench.sessions:
            session.close()
    assert not [*tmp_path.rglob("pwned")]


FILES = {"files": "{id}"}


def texts(paths):
    return [Path(path).read_text() for path in paths]


def test_names_arrive_as_they_are(bench):
    """Files of a batch have their names on the board, and what looks like a command is one of them."""
    session = bench.session(results=FILES)
    samples = bench.samples(**{ODD: "one", "a b": "two", "-n": "three", "ü任": "four"})
    assert texts(ask(session, samples)) == ["one", "two", "three", "four"]
    bench.board_work.close()
    assert [path.name for path in bench.board.home.iterdir()] == []


def test_a_name_with_a_newline_costs_its_sample_only(bench):
    """A list of files cannot hold it: the batch is refused by that sample's name, all others can be asked."""
    session = bench.session(results=FILES)
    good, bad = bench.samples(**{"good": "1", "b\nad": "2"})
    with pytest.raises(SampleError, match=r"newline|name"):
        ask(session, [good, bad])
    assert texts(ask(session, [good])) == ["1"]


def test_samples_that_are_no_files(bench):
    """A row of a table is told as a line of JSON, however odd its values; files outside the dataset go along."""
    session = bench.session("python3 table.py {batch} {output}", results={"jsonl": "a.jsonl", "prediction": "answer"})
    rows = [Sample(n, f"s{n}", {"x": value}) for n, value in enumerate([ODD, "a\nb", "", "任"])]
    assert list(ask(session, rows)) == [ODD, "a\nb", "", "任"]
    outside = bench.root / "elsewhere.txt"
    outside.write_text("far")
    session = bench.session(results=FILES)
    assert texts(ask(session, [Sample(7, "elsewhere.txt", outside)])) == ["far"]
    assert (bench.root / "output" / "told.txt").read_text().endswith("/elsewhere.txt\n")


def test_batches_on_their_way_leave_each_other_alone(bench):
    """However many are under way, each gets its own answers, also where all have files of one name."""
    results = {"jsonl": "a.jsonl", "prediction": "answer"}
    session = bench.session("python3 table.py {batch} {output}", results=results)
    batches = [[Sample(n, f"s{n}", {"x": f"content {n}"})] for n in range(12)]
    asked = [session.submit(batch) for batch in batches[: session.in_flight]]
    for n in range(12):
        assert list(asked[n].result(60).predictions) == [f"content {n}"]
        asked += [session.submit(batch) for batch in batches[len(asked) : len(asked) + 1]]


def test_a_program_that_fails_says_how(bench):
    """Its exit code, the board, and the end of its output."""
    session = bench.session(results=FILES)
    with pytest.raises(ModelError, match=r"(?s)ended with exit code 3 .*on board .*no bad ones"):
        ask(session, bench.samples(bad="x"))


def test_what_was_uploaded_by_another_connection_is_gone(bench):
    """After a lost link the directory is made anew: a batch that went over before is not asked there."""
    bay, *_ = bench.bays(results=FILES)
    bay.put(samples := bench.samples(a="1"))
    bench.board.kill_sessions()
    with pytest.raises(LinkLost):
        for _ in range(2):  # the loss may be noticed in the middle of something
            bay.run()
    assert texts(ask(bench.opened([bay]), samples)) == ["1"]


def test_a_batch_whose_link_was_lost_is_asked_again(bench):
    """The link stands again when that is told, and it is no fault of the batch."""
    waits = f"touch '{bench.root}/begun'; until [ -e '{bench.root}/go' ]; do sleep 0.05; done"
    (bench.root / "slow.sh").write_text(f"{waits}\n{ECHO}")
    session = bench.session("sh slow.sh {batch} {output}", results=FILES)
    asked = session.submit(samples := bench.samples(a="1"))
    until(lambda: (bench.root / "begun").exists())
    bench.board.kill_sessions()
    again = asked.result(60)
    assert (again.after, again.counts, bench.on_board.losses) == (0.0, False, [1])
    (bench.root / "go").touch()
    assert texts(ask(session, samples)) == ["1"]


def test_a_server_answers_batches_whose_files_went_over_before(bench):
    """In any order of uploads; it runs where the suite's files are."""
    server, bays = bench.server()
    samples = bench.samples(a="1", b="2", c="3")
    for bay, sample in zip(bays, samples, strict=True):
        bay.put([sample])
    answers = []
    for bay in reversed(bays):
        bay.run()
        answers += bay.fetch()
    assert answers == ["3", "2", "1"]
    assert list(ask(bench.opened(bays), samples)) == ["1", "2", "3"]
    server.close()


@pytest.mark.parametrize(("content", "told"), [("die", "exit code 1(?s:.*)dying"), ("nonsense", "nonsense")])
def test_a_server_that_cannot_go_on_is_told_with_its_reason(bench, content, told):
    """One that died, or does not speak the protocol."""
    server, bays = bench.server()
    with pytest.raises(ChildError, match=told):
        ask(bench.opened(bays), bench.samples(a=content))
    server.kill()


def test_a_server_is_lost_with_its_link(bench):
    """Which is no death of its own."""
    server, (bay, *_) = bench.server()
    bay.put(bench.samples(a="1"))
    bench.board.kill_sessions()
    with pytest.raises(LinkLost):
        for _ in range(2):
            bay.run()
    server.kill()
