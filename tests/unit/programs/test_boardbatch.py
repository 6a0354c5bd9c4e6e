"""Batches and servers on a real board, stage by stage: what goes over, what is told, what comes back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from sshd import Sshd

from pytest_evalrun.children.faults import ChildError, ModelError
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import SampleError
from pytest_evalrun.programs.board import BoardWork
from pytest_evalrun.programs.boardbatch import BatchStages, Uploader
from pytest_evalrun.programs.boardserver import BoardServer, ServerStages
from pytest_evalrun.programs.command_template import environment, placeholders, there
from pytest_evalrun.programs.results import results_of
from pytest_evalrun.programs.running import ProgramIO
from pytest_evalrun.remote.faults import LinkLost
from pytest_evalrun.remote.places import work_name
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

    def ready(self):
        self.connection.link()
        return self.connection.connects


class Bench:
    """The stages of a pair on a board."""

    def __init__(self, board, root):
        self.root = root
        self.data = root / "data"
        self.data.mkdir()
        self.board = board
        self.connection = board.connection()
        for name, text in (("echo.sh", ECHO), ("table.py", TABLE), ("serve.py", SERVER)):
            (root / name).write_text(text)

    def samples(self, **contents):
        for name, content in contents.items():
            (self.data / name).write_text(content)
        return [Sample(n, name, self.data / name) for n, name in enumerate(contents)]

    def stages(self, command="sh echo.sh {batch} {output}", results=None):
        layer = Layer("suite", "x", {"adapter": "ssh", "ask": "batch", "command": command, "results": results})
        pair = Pair("s", str(self.root), Task(ODD, None, str(self.root)), Dataset("d", str(self.data)), (layer,))
        work = BoardWork(OnBoard(self.connection), pair, work_name(pair.key.task, "d"))
        output = self.root / "output"
        output.mkdir(exist_ok=True)

        def where(place):
            return there("", work.path, f"{work.path}/in{place[-1:]}", f"{work.path}/in{place[-1:]}", place)

        self.work = work
        self.uploader = Uploader(work, self.data, self.root / "aside")
        self.said = []
        return BatchStages(
            pair,
            work,
            self.uploader,
            where,
            lambda place: environment(pair, place),
            results_of(pair.settings, placeholders(pair, where(str(output)), "")),
            output,
            ProgramIO(self.said.append, lambda _: None),
            lambda: None,
            lambda _: None,
            0.0,
        )

    def server(self):
        self.stages("python3 serve.py", FILES)
        server = BoardServer("m", ["python3", "serve.py"], {}, work=self.work, env={}, output=self.said.append)
        server.load()
        return server, ServerStages(server.predict, self.work, self.uploader)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / "suite"
    root.mkdir()
    with Sshd(tmp_path / "board") as board:
        yield Bench(board, root)
    assert not [*tmp_path.rglob("pwned")]


FILES = {"files": "{id}"}


def texts(paths):
    return [Path(path).read_text() for path in paths]


def test_names_arrive_as_they_are(bench):
    """Files of a batch have their names on the board, and what looks like a command is one of them."""
    stages = bench.stages(results=FILES)
    samples = bench.samples(**{ODD: "one", "a b": "two", "-n": "three", "ü任": "four"})
    assert texts(stages.predict(samples)) == ["one", "two", "three", "four"]
    bench.work.close()
    assert [path.name for path in bench.board.home.iterdir()] == []


def test_a_name_with_a_newline_costs_its_sample_only(bench):
    """A list of files cannot hold it: the batch is refused by that sample's name, all others can be asked."""
    stages = bench.stages(results=FILES)
    good, bad = bench.samples(**{"good": "1", "b\nad": "2"})
    with pytest.raises(SampleError, match=r"newline|name"):
        stages.predict([good, bad])
    assert texts(stages.predict([good])) == ["1"]


def test_samples_that_are_no_files(bench):
    """A row of a table is told as a line of JSON, however odd its values; files outside the dataset go along."""
    stages = bench.stages("python3 table.py {batch} {output}", {"jsonl": "a.jsonl", "prediction": "answer"})
    rows = [Sample(n, f"s{n}", {"x": value}) for n, value in enumerate([ODD, "a\nb", "", "任"])]
    assert list(stages.predict(rows)) == [ODD, "a\nb", "", "任"]
    outside = bench.root / "elsewhere.txt"
    outside.write_text("far")
    stages = bench.stages(results=FILES)
    assert texts(stages.predict([Sample(7, "elsewhere.txt", outside)])) == ["far"]
    assert (bench.root / "output" / "told.txt").read_text().endswith("/elsewhere.txt\n")


def test_a_batch_that_is_asked_again_leaves_those_on_their_way_alone(bench):
    """Whatever is asked meanwhile, and however often: each batch gets its own answers."""
    stages = bench.stages(results=FILES)
    samples = bench.samples(**{f"{n}": f"content {n}" for n in range(12)})
    running, coming = stages.upload(samples[0:2]), stages.upload(samples[2:4])
    ran = stages.run(running)
    for n in range(4, 12):
        assert texts(stages.predict(samples[n : n + 1])) == [f"content {n}"]
    assert texts(stages.fetch(ran)) == ["content 0", "content 1"]
    assert texts(stages.fetch(stages.run(coming))) == ["content 2", "content 3"]


def test_a_program_that_fails_says_how(bench):
    """Its exit code, the board, and the end of its output."""
    stages = bench.stages(results=FILES)
    with pytest.raises(ModelError, match=r"(?s)ended with exit code 3 .*on board .*no bad ones"):
        stages.predict(bench.samples(bad="x"))


def test_what_was_uploaded_by_another_connection_is_gone(bench):
    """After a lost link the directory is made anew: a batch that went over before is not asked there."""
    stages = bench.stages(results=FILES)
    sent = stages.upload(samples := bench.samples(a="1"))
    bench.board.kill_sessions()
    with pytest.raises(LinkLost):
        for _ in range(2):  # the loss may be noticed in the middle of something
            stages.run(sent)
    assert texts(stages.predict(samples)) == ["1"]


def test_a_server_answers_batches_whose_files_went_over_before(bench):
    """In any order of uploads; it runs where the suite's files are."""
    server, stages = bench.server()
    samples = bench.samples(a="1", b="2", c="3")
    sent = stages.upload(samples[:1]), stages.upload(samples[1:2])
    assert [list(stages.fetch(stages.run(one))) for one in sent] == [["1"], ["2"]]
    assert list(stages.predict(samples)) == ["1", "2", "3"]
    server.close()


@pytest.mark.parametrize(("content", "told"), [("die", "exit code 1(?s:.*)dying"), ("nonsense", "nonsense")])
def test_a_server_that_cannot_go_on_is_told_with_its_reason(bench, content, told):
    """One that died, or does not speak the protocol."""
    server, stages = bench.server()
    with pytest.raises(ChildError, match=told):
        stages.predict(bench.samples(a=content))
    server.kill()


def test_a_server_is_lost_with_its_link(bench):
    """Which is no death of its own."""
    server, stages = bench.server()
    sent = stages.upload(bench.samples(a="1"))
    bench.board.kill_sessions()
    with pytest.raises(LinkLost):
        for _ in range(2):
            stages.run(sent)
    server.kill()
