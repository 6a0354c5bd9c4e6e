"""What models, programs and boards say: without secrets wherever it is written, and safe wherever it is shown."""

from __future__ import annotations

import re

import pytest
from boardsuite import BoardSuite

KEY = 'it\'s-a "tok$en" 0123456789+/='
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq+/hk==\niG9wAAAA'quoted\n-----END KEY-----\n"
SECRETS = {"KEY": KEY, "PEM": PEM, "PASS": "root"}
# What is left of no secret in whatever form, and what is no secret.
PARTS = [b"0123456789", b"MIIEv", b"iG9w", b"BEGIN KEY", b"=root", b"-p root"]
PLAIN = "/root/work is no secret"

MODEL = """
import json, os, shlex, sys, time, warnings
from urllib.parse import quote

def predict(batch, key, pem, password):
    for secret in (key, pem):
        print(secret, repr(secret), json.dumps([secret]), shlex.quote(secret), quote(secret, safe=""))
        for half in (secret[:9], secret[9:] + "\\n"):
            os.write(2, half.encode())
            time.sleep(0.01)
    print(f"PASS={password}", dict(os.environ), "/root/work is no secret")
    warnings.warn("refused: " + key)
    if batch[0].index == 3:
        raise ValueError(f"refused: {key} {pem}")
    return [f"my key is {key}" if batch[0].index == 1 else password]
"""
PROGRAM = """
set -x
echo "$1"; echo "$2"; env; echo "/root/work is no secret"
printf 'id,p\\n0,0\\n1,%s\\n' "$(printf %s "$1" | sed 's/"/""/g; s/.*/"&"/')" > "$4/r.csv"
test "$5" = ok
"""
PARAMS = {"key": "${KEY}", "pem": "${PEM}", "password": "${PASS}"}
COMMAND = {
    "adapter": "command",
    "shell": True,
    "params": PARAMS,
    "results": {"csv": "{output}/r.csv", "id_column": "id", "prediction": "p"},
}


def leaks(place, output):
    """Where a part of a secret stands; results that programs have written, and copies of them, are theirs."""
    theirs = {"outputs", "files"}
    files = [path for path in place.rglob("*") if path.is_file() and not theirs & {*path.relative_to(place).parts}]
    texts = {str(path): path.read_bytes() for path in files} | {"terminal": output.encode()}
    return [(name, part) for name, text in texts.items() for part in PARTS if part in text]


@pytest.mark.parametrize("options", [("-n", "2"), ("-v", "-s", "-n", "0")], ids=["quiet", "shown"])
def test_secrets_are_written_nowhere_in_any_form(project, options):
    """Of a model and of programs, whose shell quotes them; a short one leaves paths and predictions as they are."""
    project.make(("a",), ("one",), samples=4)
    (project.suite / "model.py").write_text(MODEL)
    (project.suite / "tool.sh").write_text(PROGRAM)
    whole = "sh tool.sh {key} {pem} -p {password} {output} "
    project.yaml(
        (),
        ("one",),
        models=[
            {"name": "a", "adapter": "./model.py:predict", "params": PARAMS},
            {"name": "whole", "ask": "pair", "command": whole.replace("-p {password}", "{password}") + "ok", **COMMAND},
            {"name": "fails", "ask": "batch", "command": "sh tool.sh {key} {pem} {password} {output}", **COMMAND},
        ],
        env={"OWN": "${PASS}"},
        id_column=None,
        max_batch_size=1,
        retries=0,
    )
    ran = project.run("evals", *options, "--junitxml=junit.xml", **SECRETS)
    assert ran.code == 1, ran
    assert leaks(project.root / "outputs", ran.output + (project.root / "junit.xml").read_text()) == []
    lines = project.predictions("a", "one")
    assert [line["prediction"] for line in lines] == ["root", "my key is ***", "root", None]
    assert [line.get("blanked") for line in lines] == [None, True, None, None]
    assert lines[3]["error"] == "ValueError: refused: *** ***"
    assert "***" in (project.latest / "summary" / "echo_whole_one_merged.csv").read_text()
    for task in ("a", "whole", "fails"):
        assert PLAIN in (project.latest / f"logs/infer/echo/{task}/one.log").read_text()


LEAKY = """
echo "in /root/work: $BOARD_PASSWORD"; env
printf '\\033[31mred\\007 \\342\\200\\256gnp 10%%\\r20%%\\n'
"""


@pytest.mark.parametrize("place", ["on the board", "beside it"])
def test_what_is_said_of_a_board_holds_no_password_and_drives_no_terminal(tmp_path, boards, place):
    """A short password in the environment of a program on it, or of a local one that uses it; paths stay."""
    (board,) = boards()
    suite = BoardSuite(tmp_path / "w", [board], samples=2)
    ask = suite.evals / "ask.sh"
    ask.write_text(LEAKY + ask.read_text() + "echo $1 >&2; exit 3\n")
    there = {} if place == "on the board" else {"adapter": "command", "remote": True}
    env = {"KEY": "${KEY}", "SHORT": "${BOARD_PASSWORD}"}
    suite.write(devices=suite.devices(password_env="BOARD_PASSWORD"), env=env, retries=0, **there)
    ran = suite.pytest("-v", "-s", KEY=KEY, BOARD_PASSWORD="root")
    assert ran.code == 1, ran
    assert leaks(suite.run, ran.output) == []
    assert unsafe(ran.output) == []
    log = (suite.run / "logs/infer/evals/m1/a.log").read_bytes()
    assert b"in /root/work: " in log
    assert b"SHORT=***" in log
    assert b"\x1b[31mred\x07" in log
    assert "10%" in ran.output


CONTROLS = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp\u2066"
NAME = "d\u202egnp\u2066"
PAIR = "echo/a/plain"
COMMANDS = [
    ["logs", PAIR],
    ["show", PAIR, "--worst", "3"],
    ["show", f"echo/a/{NAME}"],
    ["show", f"echo/a/no {NAME}"],
    ["explain", f"echo/a/{NAME}"],
    ["list"],
    ["list", "--json"],
    ["monitor", "--once"],
    ["retry"],
    ["diff", "latest", "latest"],
    ["reset", "--dry-run"],
]
ODD = f"""
import sys, warnings

SAID = {CONTROLS!r}

def predict(batch):
    print(SAID, "10%", end="\\r")
    print("20%", flush=True)
    print(SAID, file=sys.stderr)
    warnings.warn(SAID)
    if batch[0].index == 3:
        raise ValueError(SAID)
    return [SAID for sample in batch]

def metric(prediction, reference):
    return 0.0

metric.better = "higher"
"""
TEST = """
def test_own(pair, evaluation):
    text = next(iter(evaluation.predictions())).prediction
    print(text)
    assert text == "x", text
"""


def unsafe(text, colours=False):
    """What a terminal would obey, besides line ends, tabs and, where they are meant to be there, colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text) if colours else text
    return re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text.replace("\r\n", "\n"))


@pytest.fixture
def odd(project):
    """A model that says what drives terminals in every way that it has, and a test that fails with its answer."""
    project.make((), (), samples=4)
    project.dataset("one", 4)
    (project.suite / "model.py").write_text(ODD)
    (project.suite / "test_own.py").write_text(TEST)
    datasets = [{"name": NAME, "path": "one.jsonl"}, {"name": "plain", "path": "one.jsonl"}]
    models = [{"name": "a", "adapter": "./model.py:predict"}]
    project.yaml((), (), models=models, datasets=datasets, max_batch_size=1, retries=0, max_failed=1)
    return project


RUNS = {"quiet": ("-n", "1"), "shown": ("-v", "-s", "-n", "0"), "colours": ("-n", "0", "--color=yes")}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_no_text_of_a_model_drives_the_terminal(odd, options):
    """Nor the name of a dataset, nor what is written for people and for CI; the colours of pytest stay."""
    ran = odd.run("evals", *options, "--junitxml=junit.xml")
    assert ran.code == 1, ran
    assert unsafe(ran.output, colours="--color=yes" in options) == [], ran
    assert ("\x1b[31m" in ran.output) == ("--color=yes" in options)
    assert "\\x1b[31mred" in ran
    for file in (odd.root / "junit.xml", odd.latest / "task_run.log", odd.latest / "summary" / "summary.md"):
        assert unsafe(file.read_text()) == [], file


def test_no_command_drives_the_terminal(odd):
    """Raw it is all kept, in predictions and in the log, and shown on request."""
    odd.run("evals", "-q", "-n", "0")
    for command in COMMANDS:
        _, out, err = odd.evalrun(*command)
        assert out + err
        assert unsafe(out + err) == [], (command, out, err)
    assert CONTROLS in odd.predictions("a", "plain")[0]["prediction"]
    _, out, _ = odd.evalrun("logs", PAIR, "--raw")
    assert CONTROLS in out
