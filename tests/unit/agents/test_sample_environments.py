"""The environments of evals/agents, and the agent that follows a script, brought together without a server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

EVALS = Path(__file__).parents[3] / "evals" / "agents"


def load(name):
    spec = importlib.util.spec_from_file_location(f"evals_agents_{name}", EVALS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


environments, agents = load("environments"), load("agents")


class Session:
    """Asks an agent, in whichever way the task does; ``messages`` is the conversation as it was."""

    def __init__(self, agent, tools=()) -> None:
        self.agent, self.tools = agent, tools
        self.messages: list[dict] = []

    async def action(self, *messages):
        self.messages += messages
        answer = await self.agent(self.messages, self.tools)
        if isinstance(answer, str):
            return SimpleNamespace(status=answer, content=None, message={"role": "assistant", "content": None})
        self.messages.append(answer)
        return SimpleNamespace(status="normal", content=answer["content"], message=answer)

    def act(self, *messages):
        return asyncio.run(self.action(*messages))


def says(*texts, calls=()):
    """An agent that says these in turn, the last one for ever; ``calls`` are names of tools with their arguments."""
    answers = [{"role": "assistant", "content": text} for text in texts]
    for number, (name, arguments) in enumerate(calls):
        call = {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        answers.append({"role": "assistant", "content": None, "tool_calls": [call]})

    async def agent(messages, tools):
        said = sum(message["role"] == "assistant" for message in messages)
        return answers[min(said, len(answers) - 1)]

    return agent


def play(world, index, agent):
    """How a sample ends, and the session of it."""
    task = {"sql": environments.Sql, "files": environments.Files}[world]()
    session = Session(agent, getattr(task, "tools", ()))
    ended = task.start_sample(index, session)
    return (asyncio.run(ended) if asyncio.iscoroutine(ended) else ended), session


@pytest.mark.parametrize("world", ["sql", "files"])
def test_script_solves_most(world):
    """18 of 20 samples end in the state wanted, all but the two of a kind that is beyond the script."""
    indices = getattr(environments, world.capitalize())().get_indices()
    ends = {index: play(world, index, agents.Scripted().act)[0] for index in indices}

    assert len(ends) == 20
    assert [index for index, end in ends.items() if not end["result"]["success"]] == [6, 13]
    assert {end["status"] for end in ends.values()} == {"completed"}
    assert all(end["reward"] == end["result"]["success"] for end in ends.values())


@pytest.mark.parametrize("world", ["sql", "files"])
def test_nothing_done_is_no_success(world):
    """What is wanted is never there at the start: who says at once that all is done has solved nothing."""
    done = says({"sql": "DONE", "files": "done"}[world])

    assert {play(world, index, done)[0]["reward"] for index in range(20)} == {0.0}


def test_data_is_made_again_byte_for_byte(tmp_path):
    """The script that made the samples makes the same ones today."""
    shutil.copy(EVALS / "build.py", tmp_path)
    subprocess.run([sys.executable, tmp_path / "build.py"], check=True)

    for made in (tmp_path / "data").iterdir():
        assert made.read_bytes() == (EVALS / "data" / made.name).read_bytes()


SQL_ENDS = {
    "a block in the text, then DONE": (says("I try.\n```sql\nSELECT 1\n```", "DONE"), "completed"),
    "statements that never end": (says("```sql\nSELECT 1\n```"), "task limit reached"),
    "only mistakes": (says("```sql\nSELEC 1\n```"), "task limit reached"),
    "neither block nor word": (says("The chair costs 61."), "agent validation failed"),
    "nothing": (says(None), "agent validation failed"),
    "no such tool": (says(calls=[("drop_all", "{}")]), "agent invalid action"),
    "arguments that are no JSON": (says(calls=[("execute_sql", "{sql:")]), "agent validation failed"),
    "arguments without a statement": (
        says(calls=[("execute_sql", '{"query": "SELECT 1"}')]),
        "agent validation failed",
    ),
    "no arguments": (says(calls=[("execute_sql", None)]), "agent validation failed"),
    "another database": (says("```sql\nATTACH 'other.db' AS other\n```"), "agent invalid action"),
    "a copy of it in a file": (says("```sql\nVACUUM INTO 'copy.db'\n```"), "agent invalid action"),
    "its settings": (says(calls=[("execute_sql", '{"sql": "PRAGMA writable_schema = 1"}')]), "agent invalid action"),
}


@pytest.mark.parametrize("name", SQL_ENDS)
def test_sql_tells_how_an_agent_failed(tmp_path, monkeypatch, name):
    """Whatever an agent answers, its sample ends with the status for it, and never in an error of the task."""
    monkeypatch.chdir(tmp_path)
    agent, status = SQL_ENDS[name]
    end, session = play("sql", 0, agent)

    assert (end["status"], end["reward"]) == (status, 0.0)
    assert end["result"]["turns"] == sum(message["role"] == "assistant" for message in session.messages)
    assert list(tmp_path.iterdir()) == []


SQL_OUTPUTS = {
    "rows": ("SELECT item, price FROM stock WHERE price < 10 ORDER BY price", "mirror | 5\ncup | 7"),
    "no rows": ("DELETE FROM people", "OK"),
    "a mistake": ("SELECT weight FROM stock", "Error: no such column: weight"),
    "two at once": ("SELECT 1; SELECT 2", "Error: You can only execute one statement at a time."),
    "one that never ends": (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "Error: interrupted",
    ),
    "a value that is too large": ("SELECT zeroblob(1000000000)", "Error: string or blob too big"),
    "more rows than are shown": ("SELECT 1 FROM stock, people LIMIT 21", "\n".join(["1"] * 20 + ["…"])),
}


@pytest.mark.parametrize("name", SQL_OUTPUTS)
def test_sql_shows_what_came_of_a_statement(name):
    """An agent sees rows, or what is wrong, as the answer to its call."""
    sql, output = SQL_OUTPUTS[name]
    _, session = play("sql", 0, says(calls=[("execute_sql", json.dumps({"sql": sql})), ("done", "{}")]))

    assert [message for message in session.messages if message["role"] == "tool"] == [
        {"role": "tool", "tool_call_id": "c0", "content": output}
    ]


FILES_ENDS = {
    "a word that is none of the shell's": (says("sudo rm /inbox"), "agent invalid action"),
    "prose": (says("I would write the file."), "agent invalid action"),
    "nothing": (says(""), "agent validation failed"),
    "blanks": (says(" \n"), "agent validation failed"),
    "looking for ever": (says("ls /"), "task limit reached"),
}


@pytest.mark.parametrize("name", FILES_ENDS)
def test_files_tell_how_an_agent_failed(name):
    """Whatever an agent answers, its sample ends with the status for it."""
    agent, status = FILES_ENDS[name]
    end, _ = play("files", 0, agent)

    assert (end["status"], end["reward"]) == (status, 0.0)


@pytest.mark.parametrize("world", ["sql", "files"])
def test_a_full_context_is_the_end(world):
    """An agent whose context is full has failed at the sample, with the status that says so."""

    async def full(messages, tools):
        return "agent context limit"

    end, _ = play(world, 0, full)
    assert (end["status"], end["reward"]) == ("agent context limit", 0.0)


TREE = {"a": {"b.txt": "text", "c": {}}, "d": ""}
COMMANDS = {
    "ls /a": ("b.txt\nc/", TREE),
    "ls": ("a/\nd", TREE),
    "ls /d": ("/d", TREE),
    "ls /x": ("ls: /x: no such file or directory", TREE),
    "ls a": ("ls: a: a path starts with /", TREE),
    "cat /a/b.txt": ("text", TREE),
    "cat /a/b.txt/c": ("cat: /a/b.txt/c: no such file or directory", TREE),
    "cat /a": ("cat: /a: is a directory", TREE),
    "write /d two words\nand a line": ("", TREE | {"d": "two words\nand a line"}),
    "write /a x": ("write: /a: is a directory", TREE),
    "write /x/y z": ("write: /x: no such file or directory", TREE),
    "mkdir /e": ("", TREE | {"e": {}}),
    "mkdir /a": ("mkdir: /a: exists", TREE),
    "mkdir /d/e": ("mkdir: /d/e: no such file or directory", TREE),
    "mv /d /a": ("", {"a": TREE["a"] | {"d": ""}}),
    "mv /d /e": ("", {"a": TREE["a"], "e": ""}),
    "mv /a/b.txt /": ("", {"a": {"c": {}}, "d": "", "b.txt": "text"}),
    "mv /a /a/c": ("mv: /a: cannot be moved into itself", TREE),
    "mv /a /a": ("mv: /a: cannot be moved into itself", TREE),
    "mv /a": ("mv: : a path starts with /", TREE),
    "mv /x /a": ("mv: /x: no such file or directory", TREE),
    "mv / /a": ("mv: /: no such file or directory", TREE),
    "mv /d /d": ("", TREE),
    "rm /a/../a/c": ("", {"a": {"b.txt": "text"}, "d": ""}),
    "rm /a": ("", {"d": ""}),
    "rm /": ("rm: /: no such file or directory", TREE),
    "rm /../../x": ("rm: /../../x: no such file or directory", TREE),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_shell_does_what_it_is_told(command):
    """A command changes the tree as its word says; one that cannot be done says why, and changes nothing."""
    shell = environments.Shell(json.loads(json.dumps(TREE)))

    assert (shell.run(command), shell.tree) == COMMANDS[command]


def test_files_have_an_overall_figure():
    """The task's own figure is over the ends that it is given."""
    ends = [{"result": {"success": success, "turns": turns}} for success, turns in ((True, 3), (True, 5), (False, 9))]

    assert environments.Files().calculate_overall(ends) == {"success_rate": 2 / 3, "turns": 4}
