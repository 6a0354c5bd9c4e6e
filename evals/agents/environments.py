"""Two small worlds for agents. What counts is the state that an agent leaves behind, never what it says.

Sql     tables in a SQLite database of its own, changed by the tool `execute_sql`, or by statements in the answers
Files   a tree of files, changed by a shell of eight words, one command an answer

Their samples are lines of data/*.jsonl, made by build.py: a question, the state at the start, and the one wanted.
"""

from __future__ import annotations

import json
import posixpath
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parent
LIMIT_REACHED = "task limit reached"
INVALID_FORMAT = "agent validation failed"
INVALID_ACTION = "agent invalid action"
CONTEXT_LIMIT = "agent context limit"

Sample = dict[str, Any]
Tables = dict[str, list[list[Any]]]
Tree = dict[str, Any]  # a file is its text, a directory a tree


def read_samples(name: str) -> list[Sample]:
    """Read the samples of a world; a sample's place is its index."""
    lines = (HERE / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def ended(*, success: bool, turns: int, status: str = "completed") -> dict[str, Any]:
    """How a sample ended, in the form that a task server takes."""
    return {"status": status, "result": {"success": success, "turns": turns}, "reward": float(success)}


# --- SQL --------------------------------------------------------------------------------------------------------------

SHOWN_ROWS = 20
LARGEST = 1_000_000  # bytes of a value or statement
STEPS = 1_000_000  # of SQLite's machine that one statement may take
REFUSED = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "execute_sql",
            "description": "Execute one SQL statement and see its rows.",
            "parameters": {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "done",
            "description": "Say that the database is as it shall be.",
            "parameters": {"type": "object", "properties": {}},
        },
    },
]


class Outside(Exception):  # noqa: N818 - what is the case
    """A statement that would leave the database."""


class Database:
    """A SQLite database in memory that no statement can leave, or keep busy for ever."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        for name, table in tables.items():
            self._connection.execute(f"CREATE TABLE {name} ({', '.join(table['columns'])})")
            places = ", ".join("?" * len(table["columns"]))
            self._connection.executemany(f"INSERT INTO {name} VALUES ({places})", table["rows"])  # noqa: S608 - ours
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        self._left = False
        self._connection.set_authorizer(self._judge)

    def _judge(self, action: int, *_: object) -> int:
        self._left = self._left or action in REFUSED
        return sqlite3.SQLITE_DENY if action in REFUSED else sqlite3.SQLITE_OK

    def execute(self, sql: str) -> str:
        """Execute a statement, and show its first rows, or what is wrong with it. Raises Outside."""
        self._connection.set_progress_handler(lambda: 1, STEPS)
        self._left = False
        try:
            rows = self._connection.execute(sql).fetchmany(SHOWN_ROWS + 1)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            if self._left:
                raise Outside(sql) from error
            return f"Error: {error}"
        finally:
            self._connection.set_progress_handler(None, 0)
        lines = [" | ".join(map(str, row)) for row in rows[:SHOWN_ROWS]]
        return "\n".join([*lines, *["…"] * (len(rows) > SHOWN_ROWS)]) or "OK"

    def state(self) -> Tables:
        """Give the rows of all tables, sorted: their order means nothing."""
        self._connection.set_authorizer(None)
        names = [name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: self._rows(name) for name in names}

    def _rows(self, name: str) -> list[list[Any]]:
        quoted = name.replace('"', '""')
        return in_order(self._connection.execute(f'SELECT * FROM "{quoted}"'))  # noqa: S608 - quoted

    def close(self) -> None:
        self._connection.close()


def in_order(rows: Any) -> list[list[Any]]:
    """Sort rows of values of any kinds."""
    return sorted(([*row] for row in rows), key=repr)


class Sql:
    """A plain task: it blocks, and its sessions are threads."""

    sessions = "thread"
    tools = TOOLS

    def __init__(self, concurrency: int = 4, turns: int = 6) -> None:
        self.concurrency = concurrency
        self._turns = turns
        self._samples = read_samples("sql")

    def get_indices(self) -> list[int]:
        return list(range(len(self._samples)))

    def start_sample(self, index: int, session: Any) -> dict[str, Any]:
        sample = self._samples[index]
        with closing(Database(sample["tables"])) as database:
            status, turns = self._play(sample, database, session)
            wanted = {name: in_order(rows) for name, rows in sample["wanted"].items()}
            done = status == "completed" and database.state() == wanted
        return ended(success=done, turns=turns, status=status)

    def _play(self, sample: Sample, database: Database, session: Any) -> tuple[str, int]:
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": SQL_RULES},
            {"role": "user", "content": sample["question"]},
        ]
        for turn in range(1, self._turns + 1):
            answer = session.act(*messages)
            if answer.status != "normal":
                return CONTEXT_LIMIT, turn
            try:
                messages = _execute(answer.message, database)
            except (Outside, LookupError):
                return INVALID_ACTION, turn
            except (ValueError, TypeError):
                return INVALID_FORMAT, turn
            if not messages:
                return "completed", turn
        return LIMIT_REACHED, self._turns


SQL_RULES = (
    "You change a SQLite database until it is as the user wants it. Call execute_sql with one statement at a time, "
    "then done. Without tools, answer with one statement in a block ```sql … ```, then with the word DONE."
)


def _execute(message: Mapping[str, Any], database: Database) -> list[dict[str, Any]]:
    """Do what an answer says, and give the messages that tell what came of it; none where the agent is done.

    Raises LookupError where there is no such tool, ValueError or TypeError where nothing can be made of the answer,
    Outside.
    """
    told = []
    for call in message.get("tool_calls") or ():
        name, text = call["function"]["name"], call["function"]["arguments"]
        if name == "done":
            return []
        if name != "execute_sql":
            raise LookupError(name)
        arguments = json.loads(text)
        if not isinstance(arguments, dict) or not isinstance(arguments.get("sql"), str):
            raise TypeError(text)
        told.append({"role": "tool", "tool_call_id": call["id"], "content": database.execute(arguments["sql"])})
    return told or _execute_text(message.get("content") or "", database)


def _execute_text(text: str, database: Database) -> list[dict[str, Any]]:
    found = re.search(r"```sql\s(.*?)```", text, re.DOTALL)
    if found:
        return [{"role": "user", "content": database.execute(found[1])}]
    if text.strip().rstrip(".") == "DONE":
        return []
    raise ValueError(text)


# --- files ------------------------------------------------------------------------------------------------------------


class Refusal(Exception):  # noqa: N818 - what is the case
    """A command that a shell would refuse, and why."""


class Shell:
    """A shell of a few words over a tree of files. A path starts at the root; there are no others."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.words: dict[str, Callable[[str], str]] = {
            "ls": self._ls, "cat": self._cat, "write": self._write, "mkdir": self._mkdir, "mv": self._mv,
            "rm": self._rm,
        }  # fmt: skip

    def run(self, command: str) -> str:
        """Run a command and give what it writes. Raises LookupError where its word is none of ours."""
        word, _, rest = command.partition(" ")
        do = self.words[word]
        try:
            return do(rest.strip())
        except Refusal as refusal:
            return f"{word}: {refusal}"

    def _ls(self, path: str) -> str:
        found = self._find(path or "/")
        if isinstance(found, str):
            return path
        return "\n".join(f"{name}/" if isinstance(found[name], dict) else name for name in sorted(found))

    def _cat(self, path: str) -> str:
        found = self._find(path)
        if isinstance(found, dict):
            raise Refusal(f"{path}: is a directory")
        return found

    def _write(self, rest: str) -> str:
        path, _, text = rest.partition(" ")
        directory, name = self._place(path)
        if isinstance(directory.get(name), dict):
            raise Refusal(f"{path}: is a directory")
        directory[name] = text
        return ""

    def _mkdir(self, path: str) -> str:
        directory, name = self._place(path)
        if name in directory:
            raise Refusal(f"{path}: exists")
        directory[name] = {}
        return ""

    def _mv(self, rest: str) -> str:
        source, _, target = (part.strip() for part in rest.partition(" "))
        directory, name = self._place(source)
        moved = self._find(source)
        there, new = self._place(target) if _parts(target) else ({"/": self.tree}, "/")
        if isinstance(there.get(new), dict):
            there, new = there[new], name
        if isinstance(moved, dict) and _holds(moved, there):
            raise Refusal(f"{source}: cannot be moved into itself")
        if isinstance(there.get(new), dict):
            raise Refusal(f"{target}: is a directory")
        del directory[name]
        there[new] = moved
        return ""

    def _rm(self, path: str) -> str:
        directory, name = self._place(path)
        self._find(path)
        del directory[name]
        return ""

    def _find(self, path: str) -> Any:
        found: Any = self.tree
        for part in _parts(path):
            if not isinstance(found, dict) or part not in found:
                raise Refusal(f"{path}: no such file or directory")
            found = found[part]
        return found

    def _place(self, path: str) -> tuple[Tree, str]:
        """Find the directory of a path, which is there, and the last name, which need not be."""
        *parents, name = _parts(path) or [""]
        directory = self._find("/" + "/".join(parents))
        if not name or not isinstance(directory, dict):
            raise Refusal(f"{path}: no such file or directory")
        return directory, name


def _parts(path: str) -> list[str]:
    if not path.startswith("/"):
        raise Refusal(f"{path}: a path starts with /")
    return [part for part in posixpath.normpath(path).split("/") if part]


def _holds(tree: Tree, other: Tree) -> bool:
    """Whether a directory is another one, or has it somewhere below it."""
    return tree is other or any(_holds(each, other) for each in tree.values() if isinstance(each, dict))


FILES_RULES = (
    "You work in a tree of files. Answer with one command and nothing else: ls PATH, cat PATH, write PATH TEXT, "
    "mkdir PATH, mv PATH PATH, rm PATH (of a directory, with all that is in it), or done. Paths start with /."
)


class Files:
    """A task of coroutines, whose sessions share one loop. It is answered in text: there are no tools."""

    sessions = "loop"

    def __init__(self, concurrency: int = 4, turns: int = 12) -> None:
        self.concurrency = concurrency
        self._turns = turns
        self._samples = read_samples("files")

    def get_indices(self) -> list[int]:
        return list(range(len(self._samples)))

    async def start_sample(self, index: int, session: Any) -> dict[str, Any]:
        sample = self._samples[index]
        shell = Shell(json.loads(json.dumps(sample["tree"])))
        status, turns = await self._play(sample["question"], shell, session)
        return ended(success=status == "completed" and shell.tree == sample["wanted"], turns=turns, status=status)

    async def _play(self, question: str, shell: Shell, session: Any) -> tuple[str, int]:
        messages = [{"role": "user", "content": f"{FILES_RULES}\n\n{question}"}]
        for turn in range(1, self._turns + 1):
            answer = await session.action(*messages)
            if answer.status != "normal":
                return CONTEXT_LIMIT, turn
            command = (answer.content or "").strip()
            if not command:
                return INVALID_FORMAT, turn
            if command == "done":
                return "completed", turn
            try:
                messages = [{"role": "user", "content": shell.run(command) or "(nothing)"}]
            except LookupError:
                return INVALID_ACTION, turn
        return LIMIT_REACHED, self._turns

    def calculate_overall(self, results: Sequence[Any]) -> dict[str, Any]:
        """Give the share of samples that left the wanted state, and the turns that those took."""
        ends = [result["result"] for result in results]
        turns = [end["turns"] for end in ends if end["success"]]
        return {"success_rate": len(turns) / len(ends), "turns": sum(turns) / len(turns) if turns else None}
