"""Messages about a run: sent only where they are asked for, by the launching process alone, and never in its way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from pathlib import Path

import pytest
from bots import Bot
from support import kill_group, wait_for

REPO = Path(__file__).parents[2]
TOKEN, SECRET = "0123-t0k3n-abcdef", "s3cr3t+of/a&bot"
URL = "lark://${LARK_TOKEN}?secret=${LARK_SECRET}&host="
ENVIRON = {"LARK_TOKEN": TOKEN, "LARK_SECRET": SECRET}


@pytest.fixture
def bot():
    """One that wants signatures."""
    with Bot(secret=SECRET) as server:
        yield server


@pytest.fixture
def notified(project, bot):
    """``notified(*arguments)``: a run of the project that tells the bot."""
    return lambda *words, **env: project.run("evals", *words, "--eval-notify", URL + bot.host, **ENVIRON, **env)


def texts(bot):
    return [card["body"]["elements"][0]["content"] for card in bot.cards]


def left_behind(root):
    """All that lies there, as one text."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    return "\n".join([*map(str, files), *(path.read_bytes().decode(errors="replace") for path in files)])


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["n0", "n2"])
def test_the_end_is_told(project, bot, notified, args):
    """Once, whatever workers there are, signed, with the verdict, the gates that do not hold, and how to carry on."""
    project.make(models=("a", "b"), gates={"exact_match": {"min": 0.9}})
    project.dataset("one", 8, wrong=2)
    ran = notified(*args)
    assert ran.code == 1, ran
    assert bot.signed
    assert bot.titles == [f"FAILED: echo ({project.latest.name})"]
    (text,) = texts(bot)
    assert text.startswith("**verdict** FAILED: ")
    assert (
        "**worst gates**\n- echo/a/one: exact_match 0.7500 &#60; 0.9000 (min)\n- echo/b/one: exact_match 0.75" in text
    )
    assert f"**carry on with** python -m pytest -p no:cacheprovider evals {' '.join([*args, '--eval-notify'])} " in text
    assert "evalrun: notify=lark://${LARK_TOKEN}?secret=${LARK_SECRET}&host=" in ran
    assert "did not get there" not in ran


def test_nothing_is_sent_without_the_option(project, bot):
    """Whatever the ini file says; with it, those addresses are told, and also of the start where they want it."""
    project.make()
    ini = f"[pytest]\neval_notify =\n    lark://${{LARK_TOKEN}}?start=1&secret=${{LARK_SECRET}}&host={bot.host}\n"
    (project.root / "pytest.ini").write_text(f"{ini}eval_notify_link = https://ci.example/{{run}}/${{LARK_JOB}}\n")
    ran = project.run("evals")
    assert (ran.code, bot.requests) == (0, []), ran
    assert "notify=" not in ran
    ran = project.run("evals", "--eval-notify", LARK_JOB="77", **ENVIRON)
    run = project.latest.name
    assert (ran.code, bot.titles) == (0, [f"started: echo ({run})", f"PASSED: echo ({run})"]), ran
    assert f"**link** https://ci.example/{run}/77" in texts(bot)[1]


WRONG = {
    "a variable": (
        "lark://${NOT_THERE}",
        "lark://${NOT_THERE}: ${NOT_THERE}: the environment variable NOT_THERE is not",
    ),
    "a scheme": ("slak://t0k3n", "slak://***: unknown scheme 'slak'; nearest: slack, "),
    "an option": ("lark://t0k3n?msg=post", "lark://***?msg=post: msg='post' is not accepted; accepted: card, text"),
    "nobody": (None, "--eval-notify: the ini key eval_notify names no URL; set it, or give --eval-notify=URL"),
}


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=["n0", "n1"])
@pytest.mark.parametrize(("url", "text"), WRONG.values(), ids=WRONG)
def test_a_wrong_address_is_a_usage_error(project, url, text, args):
    """Before anything runs, and with nothing that may be secret."""
    project.make()
    ran = project.run(
        "evals", *args, *["--eval-notify", url][: 1 + (url is not None)], ASKED=str(project.root / "asked")
    )
    assert ran.code == pytest.ExitCode.USAGE_ERROR, ran
    assert text in ran
    assert "Traceback" not in ran
    assert "t0k3n" not in ran
    assert not (project.root / "asked").exists()
    assert not project.workdir.exists() or not project.latest.joinpath("run.json").exists()


def test_where_there_is_no_suite_nobody_notices(project, bot):
    """Ordinary tests run as ever: no message, no error, nothing imported."""
    project.root.mkdir(parents=True)
    (project.root / "pytest.ini").write_text("[pytest]\n")
    (project.root / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert not [name for name in sys.modules if name.endswith('notify.sender')]\n"
    )
    ran = project.run("--eval-notify", "lark://${NOT_THERE}?host=" + bot.host)
    assert (ran.code, bot.requests) == (0, []), ran


TELLTALE = """
import os

class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        print(dict(os.environ), os.environ["LARK_TOKEN"], os.environ["LARK_SECRET"])
        return [sample.input for sample in batch]
"""


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=["n0", "n1"])
def test_secrets_are_nowhere(project, bot, notified, args):
    """In no file of the run, in no line of the output: not even where a program shows its whole environment."""
    project.make()
    (project.suite / "model.py").write_text(TELLTALE)
    ran = notified(*args, "-v", "-s")
    assert (ran.code, len(bot.requests)) == (0, 1), ran
    for text in (left_behind(project.workdir), ran):
        assert "LARK_TOKEN" in text
        assert TOKEN not in text
        assert SECRET not in text
    session = json.loads((project.latest / "session.json").read_text())
    assert session["argv"][-1] == URL + bot.host


def test_an_address_of_the_command_line_is_blanked(project, bot):
    """Where it holds what is secret itself; and what was blanked is refused when it comes again."""
    project.make()
    ran = project.run("evals", f"--eval-notify=lark://{TOKEN}?host={bot.host}")
    assert (ran.code, len(bot.requests)) == (0, 1), ran
    assert TOKEN not in left_behind(project.workdir)
    assert TOKEN not in ran
    blanked = json.loads((project.latest / "session.json").read_text())["argv"][-1]
    assert blanked == f"--eval-notify=lark://***?host={bot.host}"
    ran = project.run("evals", blanked)
    assert ran.code == pytest.ExitCode.USAGE_ERROR, ran
    assert "this was blanked when it was written down; give it anew" in ran


REFUSED = {
    "19021": "it refuses the signature (code 19021)",
    "19024": "it misses a keyword (code 19024)",
    "http 500": "it refuses the message (code 1)",
    "garbage": "what it answers says not how it went",
    "close": "it cannot be reached",
    "hang": "in time",
    "drip": "in",
}


@pytest.mark.parametrize(("answer", "text"), REFUSED.items())
def test_a_message_that_does_not_get_there_is_a_line(project, answer, text):
    """And nothing else: the run ends as it would, and soon."""
    project.make()
    with Bot([answer]) as server:
        ran = project.run("evals", "--eval-notify", f"lark://${{LARK_TOKEN}}?host={server.host}", **ENVIRON)
        assert (ran.code, ran.counts) == (0, {"passed": 1}), ran
        (line,) = [line for line in ran.output.splitlines() if "did not get there" in line]
        assert line.startswith(f"evalrun: a message to lark://${{LARK_TOKEN}}?host={server.host} did not get there: ")
        assert text in line or "no answer within 5 s" in line
        assert TOKEN not in ran
        assert server.requests


def test_a_bot_at_its_limit_is_asked_again(project):
    """Until it takes the message."""
    project.make()
    with Bot(["11232", "11232", "ok"]) as server:
        ran = project.run("evals", "--eval-notify", f"lark://${{LARK_TOKEN}}?host={server.host}", **ENVIRON)
    assert (ran.code, len(server.requests)) == (0, 3), ran
    assert "did not get there" not in ran


BROKEN = """
class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        raise ValueError("SAID BY THE MODEL")
"""


def test_the_first_error_of_each_kind_is_told(project, bot, notified):
    """By its kind and its pair, in words of ours: what a model says goes nowhere."""
    project.make(models=("a", "b"), datasets=("one", "two"))
    (project.suite / "model.py").write_text(BROKEN)
    (project.suite / "two.jsonl").write_text("SAID BY THE DATA\n")
    ran = notified()
    assert ran.code == 1, ran
    assert [title.partition(":")[0] for title in bot.titles] == ["ERROR", "ERROR", "ERROR"]
    first, second, last = texts(bot)
    assert "**pair** echo/a/one\n**trouble** samples that failed, the first of its kind in this launch\n" in first
    assert "**pair** echo/a/two\n**trouble** data, the first of its kind in this launch\n" in second
    assert "**why** evalrun logs echo/a/one" in first
    assert "**so far** 1 of 4 items over; the others go on" in first
    assert last.startswith("**verdict** ERROR: ")
    assert "**in ERROR**\n- echo/a/one: " in last
    assert "SAID BY" in ran
    assert "SAID BY" not in json.dumps(bot.bodies)


DIES = """
import os

class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        os.kill(os.getpid(), 9)
"""


def test_a_worker_that_dies_is_an_error_of_its_kind(project, bot, notified):
    """Nobody else says so."""
    project.make()
    (project.suite / "model.py").write_text(DIES)
    ran = notified("-n1", "--eval-crash-retries", "0")
    assert ran.code == 1, ran
    assert "**trouble** a worker or a job that died, the first of its kind" in texts(bot)[0]


WAITS = """
import time
from pathlib import Path

class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        Path("begun").touch()
        while not Path("go").exists():
            time.sleep(0.01)
        return [sample.input for sample in batch]
"""


@pytest.fixture
def waiting(project, bot):
    """Starts a run whose model waits for a file ``go``, and tells the bot."""
    project.make(models=("a", "b"))
    (project.suite / "model.py").write_text(WAITS)
    started = []

    def start(*args, more=""):
        command = ["evals", *args, "--eval-notify", f"{URL}{bot.host}{more}"]
        started.append(project.start(*command, **ENVIRON))
        wait_for((project.root / "begun").exists, process=started[0])
        return started[0]

    yield start
    kill_group(started[0])


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["n0", "n2"])
def test_a_stall_is_told(project, bot, waiting, args):
    """While it lasts, once; and the run goes on when it is over."""
    process = waiting(*args, more="&stall=0.005")
    wait_for(lambda: bot.requests, process=process)
    (project.root / "go").touch()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    first, *_, last = bot.titles
    assert first.startswith("nothing has finished for ")
    assert re.search(r"\*\*running\*\*.* echo/a/one, for \d+ s", texts(bot)[0].replace("\n", " "))
    assert "**so far** 0 of 2 items over" in texts(bot)[0]
    assert last.startswith("PASSED: ")


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=["n0", "n1"])
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_run_that_is_stopped_says_so(project, bot, waiting, args, number, name):
    """By whom, what is left, and the command that carries on."""
    process = waiting(*args)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert bot.titles == [f"INTERRUPTED: echo ({project.latest.name})"], output
    (text,) = texts(bot)
    assert f"**stopped by** {name}; 2 of 2 pairs are left" in text
    assert "**carry on with** python -m pytest -p no:cacheprovider evals " in text
    assert "exit code 2" in text


def test_a_server_that_hangs_does_not_keep_a_run_that_is_stopped(project, waiting, bot):
    """Whoever stops it does not have to kill it."""
    bot.answers[:] = ["hang"]
    process = waiting(more="&start=1")
    _, said, _ = project.evalrun("stop")
    output, _ = process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "SIGKILL" not in said
    assert "did not get there" in output


def test_a_crash_of_pytest_is_told(project, bot, notified):
    """No summary is printed then, and the message still gets out."""
    project.make()
    (project.root / "conftest.py").write_text("def pytest_runtest_logfinish(nodeid):\n    raise RuntimeError('SAID')\n")
    ran = notified()
    assert ran.code == pytest.ExitCode.INTERNAL_ERROR, ran
    assert bot.titles == [f"CRASHED: echo ({project.latest.name})"]
    assert "**trouble** pytest itself failed; its output says why" in texts(bot)[0]
    assert "SAID" not in texts(bot)[0]


def test_jobs_of_a_cluster_send_nothing(project, bot, cluster, notified):
    """Their launch does; and they blank the same secrets, which the cluster hands on to them."""
    cluster(models=("a", "b"))
    (project.suite / "model.py").write_text(TELLTALE)
    ran = notified("--eval-engine", "command", "--eval-jobs", "2", "--eval-unit-minutes", "0.001")
    assert (ran.code, bot.titles) == (0, [f"PASSED: echo ({project.latest.name})"]), ran
    kept = left_behind(project.workdir)
    assert "LARK_TOKEN" in kept
    assert TOKEN not in kept
    assert SECRET not in kept


def test_others_are_told_by_apprise(project):
    """A server that takes JSON gets title and text."""
    project.make()
    with Bot() as server:
        url = f"json://127.0.0.1:{server.port}/${{LARK_TOKEN}}"
        ran = project.run("evals", "--eval-notify", url, "-s", "--log-cli-level=DEBUG", **ENVIRON)
    assert ran.code == 0, ran
    ((path, body),) = server.requests
    assert path == f"/{TOKEN}"
    assert (body["title"], body["type"]) == (f"PASSED: echo ({project.latest.name})", "success")
    assert body["message"].startswith("verdict: PASSED: ")
    assert TOKEN not in ran


def test_a_dry_run_tells_nobody(project, bot, notified):
    """Nor does one that makes the tables again."""
    project.make()
    assert notified("--collect-only").code == 0
    assert project.run("evals").code == 0
    assert notified("--eval-mode", "viz").code == 0
    assert bot.requests == []


def test_the_card_that_the_page_shows(project, bot):
    """docs/messages.md shows what a server received of examples/breach, but for names of this machine and the time."""
    shutil.copytree(REPO / "examples" / "breach", project.root / "examples" / "breach")
    (project.root / "pytest.ini").write_text(f"[pytest]\neval_notify =\n    {URL}{bot.host}\n")
    ran = project.run("examples/breach", "--eval-notify", **ENVIRON)
    assert (ran.code, bot.signed, len(bot.bodies)) == (1, True, 1), ran
    received = json.dumps(bot.bodies[0], ensure_ascii=False, indent=2)
    for known, shown in {
        bot.bodies[0]["timestamp"]: "1795907649",
        bot.bodies[0]["sign"]: "Q7s+AsIDpSf2gj43WjATIY5sEpWulrG7f8HsVKTG5Ok=",
        str(project.root): "/home/me/project",
        project.latest.name: "20261128_231409",
        f" on {socket.gethostname()}": " on server",
        "python -m pytest -p no:cacheprovider": "pytest",
    }.items():
        assert known in received
        received = received.replace(known, shown)
    received = re.sub(r"1 failed; \d+ s; exit", "1 failed; 1 s; exit", received)
    page = (REPO / "docs" / "messages.md").read_text(encoding="utf-8")
    assert f"```json\n{received}\n```" in page
