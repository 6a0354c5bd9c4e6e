"""``evalrun view`` on real runs: from another process, while pytest runs, and after it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager

import pytest
from support import EVALRUN, kill_group, wait_for

TALKER = """
import os, time

class Model:
    def __init__(self, path):
        pass

    def predict(self, batch):
        for sample in batch:
            while sample.input > 9 and not os.path.exists("go"):
                time.sleep(0.01)
            print("asked", sample.input)
        return [sample.input for sample in batch]
"""


class Browser:
    """Somebody who followed the link that was printed."""

    def __init__(self, link):
        found = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)(/t/[A-Za-z0-9_-]{32})/", link)
        assert found, link
        self.host, self.port, self.base = found[1], int(found[2]), found[3]

    def get(self, path, **headers):
        """Status, headers and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request("GET", f"{self.base}{path}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, path):
        status, _, body = self.get(path)
        assert status == 200, body
        return json.loads(body)

    @contextmanager
    def events(self):
        """Iterates over (event, data) until the server ends."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        connection.request("GET", f"{self.base}/api/events")
        try:
            yield _events(connection.getresponse())
        finally:
            connection.close()

    def anchor(self, pair):
        """The place of a pair in the page, as its link there has it."""
        text = self.get("/")[2].decode()
        return re.search(rf'<a href="#(p[0-9a-f]+)">(?:(?!</a>).)*?<bdi>{re.escape(pair)}</bdi>', text, re.DOTALL)[1]


def _events(answer):
    name = ""
    for raw in answer:
        word, _, rest = raw.decode().rstrip("\n").partition(": ")
        if word == "event":
            name = rest
        elif word == "data":
            yield name, json.loads(rest)


class View:
    """The command, and what it says."""

    def __init__(self, project, *args, **env):
        self.process = subprocess.Popen(
            [*EVALRUN, "view", *args],
            cwd=project.root,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def browser(self):
        line = self.process.stdout.readline()
        assert "(Ctrl-C ends)" in line, line + self.process.stdout.read()
        return Browser(line.split()[1])

    def end(self, number=signal.SIGINT):
        """The exit code, and what it still said."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def view(project):
    """``view(*arguments)`` starts the command in the project."""
    started = []

    def start(*args, **env):
        started.append(View(project, *args, **env))
        return started[-1]

    yield start
    for each in started:
        kill_group(each.process)


@pytest.fixture
def done(project):
    """Two models on one dataset, of which each answers three of 120 samples wrongly."""
    project.make(models=("a", "b"), samples=120)
    project.dataset("one", 120, wrong=3)
    assert project.run("evals", "-n0").code == 0
    return project


def test_page_of_a_run(done, view):
    """The page says what the report says, its details come when asked for, and Ctrl-C ends it with one line."""
    shown = view()
    browser = shown.browser()
    status, headers, body = browser.get("/")
    text = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'sha256-" in headers["Content-Security-Policy"]
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert f'"base":"{browser.base}"' in text.replace(" ", "")
    assert "PASSED: all 2 pairs passed" in text
    detail = browser.json(f"/api/pair?anchor={browser.anchor('echo/a/one')}")
    assert (detail["id"], detail["status"], detail["total"]) == ("echo/a/one", "passed", 120)
    assert detail["binary"] == ["exact_match"]
    for file in detail["files"]:
        if file["href"]:
            assert browser.get(file["href"].removeprefix(browser.base))[0] == 200
    before = sorted(done.latest.rglob("*"))
    code, said = shown.end()
    assert code == 0
    assert said == f"{done.latest.name}: no longer shown\n"
    assert sorted(done.latest.rglob("*")) == before


def test_all_samples_are_there(done, view):
    """Pages of samples are the lines of the files with their inputs, and the wrong ones are those."""
    browser = view("latest", "--port", "0").browser()
    anchor = browser.anchor("echo/a/one")
    found = []
    for number in (1, 2, 3):
        page = browser.json(f"/api/samples?anchor={anchor}&filter=all&page={number}")
        assert (page["total"], page["pages"], page["page"]) == (120, 3, number)
        found += page["samples"]
    lines = done.predictions("a", "one")
    told = [(s["id"], s["inputs"][0]["part"]["text"], s["prediction"]["text"], s["reference"]["text"]) for s in found]
    asked = [json.dumps(number) for number in range(120)]
    assert told == [
        (line["id"], question, json.dumps(line["prediction"]), json.dumps(line["reference"]))
        for line, question in zip(lines, asked, strict=True)
    ]
    wrong = browser.json(f"/api/samples?anchor={anchor}&filter=wrong&metric=exact_match")
    assert [sample["i"] for sample in wrong["samples"]] == [0, 1, 2]
    assert browser.json(f"/api/samples?anchor={anchor}&q=119")["total"] == 1


def test_nobody_else_sees_it(done, view):
    """Two views have two tokens; neither is anything to who has none, and nothing outside the run is sent."""
    one, two = view().browser(), view().browser()
    assert one.base != two.base
    two.base, base = one.base, two.base
    assert two.get("/api/snapshot")[0] == 404
    two.base = base
    assert two.get("/api/snapshot", Host="evil.example")[0] == 421
    assert two.get("/api/snapshot", Origin="http://evil.example")[0] == 403
    assert two.get("/files/run/%2e%2e/history.jsonl")[0] == 404
    assert (done.workdir / "history.jsonl").is_file()
    assert two.get("/files/run/run.json")[0] == 200


def test_run_is_watched_while_it_goes_on(project, view):
    """From the moment that pytest starts: pairs run, end and come onto the page; logs grow; the end is told."""
    project.make(models=("a", "b"), samples=40, params={"delay": 0.05}, max_batch_size=1)
    text = (project.suite / "model.py").read_text()
    (project.suite / "model.py").write_text(text.replace("time.sleep(", 'print("asked", batch[0].id); time.sleep('))
    process = project.start("evals", "-n2")
    try:
        wait_for(lambda: project.workdir.is_dir(), process=process)
        browser = view().browser()
        state, ran, results = {}, {}, 0
        with browser.events() as events:
            for name, data in events:
                results += name == "results"
                state |= data if name == "snapshot" else {}
                ran |= {each["pair"]: each for each in state.get("running", ()) if each["share"] > 0}
                if state.get("session") == "ended" and results:  # in whichever order
                    break
        assert {"echo/a/one", "echo/b/one"} == ran.keys()
        assert state["counts"]["completed"] == 2
        anchor = ran["echo/a/one"]["anchor"]
        assert anchor == browser.anchor("echo/a/one")
        assert "PASSED: all 2 pairs passed" in browser.get("/api/page")[2].decode()
        piece = browser.json(f"/api/log?anchor={anchor}&stage=infer")
        assert piece["text"].count("asked") == 40
    finally:
        kill_group(process)


def test_log_follows(project, view):
    """What a model prints is there while it runs, piece by piece, and in the end all of it, once."""
    project.make(samples=30, max_batch_size=1)
    (project.suite / "model.py").write_text(TALKER)
    process = project.start("evals", "-n1")
    try:
        wait_for(lambda: project.workdir.is_dir(), process=process)
        browser = view().browser()
        running = wait_for(lambda: browser.json("/api/snapshot")["running"], process=process)
        path = f"/api/log?anchor={running[0]['anchor']}&stage=infer&from="
        text, place = "", 0

        def told(what):
            nonlocal text, place
            piece = browser.json(f"{path}{place}")
            text, place = text + piece["text"], piece["next"]
            return what in text

        wait_for(lambda: told("asked 9\n"), process=process)
        assert "asked 10\n" not in text
        (project.root / "go").touch()
        wait_for(lambda: told("asked 29\n"))
        process.communicate(timeout=60)
        told("")
        assert text == (project.latest / "logs/infer/echo/a/one.log").read_text()
    finally:
        kill_group(process)


def test_killed_run_is_told_of(project, view):
    """A pytest that is killed is dead to all who watch, with the command to carry on; the server lives."""
    project.make(samples=400, params={"delay": 0.05}, max_batch_size=1)
    process = project.start("evals", "-n1")
    try:
        wait_for(lambda: project.workdir.is_dir(), process=process)
        browser = view().browser()
        state = {}
        with browser.events() as events:
            for name, data in events:
                state |= data if name == "snapshot" else {}
                if state.get("running"):
                    break
            kill_group(process)
            for name, data in events:
                state |= data if name == "snapshot" else {}
                if state["session"] == "dead" and state["death"]:
                    break
        assert state["death"]["command"].endswith("evals -n1")
        assert browser.get("/")[0] == 200
    finally:
        kill_group(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_with_watchers(done, view, number):
    """Whoever still watches does not hold it up."""
    shown = view()
    browser = shown.browser()
    with browser.events() as events:
        next(events)
        assert shown.end(number)[0] == 0
        assert all(name for name, _ in events)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(("nothing",), "run nothing: not found", id="no such run"),
        pytest.param(("--port", "70000"), "Error: --port 70000: accepted: 0 to 65535", id="no port"),
    ],
)
def test_mistakes_are_told(done, arguments, complaint):
    """What cannot be shown is said in a line, and is exit code 2."""
    code, _, errors = done.evalrun("view", *arguments)
    assert code == 2
    assert complaint in errors


def test_port_in_use(done, view):
    """Of a port that somebody else has it is said so."""
    browser = view().browser()
    code, _, errors = done.evalrun("view", "--port", str(browser.port))
    assert (code, errors) == (
        2,
        f"Error: --port {browser.port}: in use on 127.0.0.1 by another process: end that, or name another port\n",
    )


def test_without_aiohttp(done, view, tmp_path):
    """What is missing is named, with the command that installs it."""
    (tmp_path / "aiohttp.py").write_text("raise ImportError('no aiohttp here')\n")
    shown = view(PYTHONPATH=str(tmp_path))
    said, _ = shown.process.communicate(timeout=60)
    assert shown.process.returncode == 2
    assert said == "Error: evalrun view needs aiohttp: pip install pytest-evalrun[web]\n"
