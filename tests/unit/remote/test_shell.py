"""What is sent to a board's shell: names are never code, whatever they are and whichever shell it is."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sshd import tool

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.shell import BOOT, END, EXPORTS, FINISH, RUN, WATCH, told

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash"], "posix bash": ["bash", "--posix"]}
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
SHOW = f'{EXPORTS}\nfor word; do printf "%s\\0" "$word"; done; printf "%s\\0" "${{SAID-}}"; cat'


@pytest.fixture(params=SHELLS)
def shell(request, tmp_path):
    """A directory whose ``sh`` is the shell, and the PATH that finds it first."""
    program, *words = SHELLS[request.param]
    (tmp_path / "sh").write_text(f'#!/bin/sh\nexec {tool(program)} {" ".join(words)} "$@"\n')
    (tmp_path / "sh").chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def run(path: str, sent: bytes, login: str = "/bin/sh", **env):
    return subprocess.run(
        [login, "-c", BOOT],
        input=sent,
        capture_output=True,
        env=os.environ | {"PATH": path} | env,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "word",
    [
        "plain",
        "",
        "two words",
        "it's",
        'say "hi"',
        "$(touch x)",
        "`touch x`",
        "${HOME}",
        "a;b&c|d",
        "-n",
        "~",
        "*",
        "back\\slash\\",
        "line\nbreak\n",
        "\n#0123\n",
        "tab\there",
        "名前 é",
        "!history",
        "\udcff\udcfe",
    ],
)
def test_words_arrive_as_they_are(shell, tmp_path, word):
    """Arguments and variables are the same on the other side, in each shell; nothing in them is run."""
    ran = run(shell, told(SHOW, [word, "second"], {"SAID": word}) + b"rest of the input")
    assert ran.stdout == os.fsencode(f"{word}\0second\0{word}\0") + b"rest of the input"
    assert ran.stderr == b""
    assert not (tmp_path / "x").exists()
    assert not Path("x").exists()


@given(st.lists(WORDS, max_size=4), WORDS)
@settings(max_examples=60)
def test_any_words_arrive(words, value):
    """No text whatever is lost or understood on the way."""
    sent = told(SHOW, words, {"SAID": value}) + b"."
    expected = b"".join(os.fsencode(word) + b"\0" for word in [*words, value]) + b"."
    assert run(os.environ["PATH"], sent).stdout == expected


def test_script_that_was_cut_off_is_not_run(shell):
    """Where the connection ends in the middle of a script, none of it is run."""
    sent = told("echo harm")
    for end in (0, 3, len(sent) // 2, len(sent) - 2):
        ran = run(shell, sent[:end])
        assert (ran.returncode, ran.stdout) == (125, b"")


def test_process_list_shows_neither_secrets_nor_names():
    """What the board's process list and log see is always the same words."""
    assert "secret" not in BOOT
    assert b"secret" in told("true", ["secret"], {"TOKEN": "secret"})


@pytest.mark.parametrize("name", ["A B", "1A", "A-B", "", "A=B", "$(x)"])
def test_names_of_variables_are_checked(name):
    """What is no name of a variable would be code, and is refused."""
    with pytest.raises(ConfigError, match="cannot be a variable"):
        told(SHOW, [], {name: "x"})


@pytest.mark.parametrize("script", [WATCH, RUN, END, FINISH])
@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_understood(shell, script):
    """Each shell can read each script."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(script)
        file.flush()
        program, *words = SHELLS[shell]
        ran = subprocess.run([tool(program), *words, "-n", file.name], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
