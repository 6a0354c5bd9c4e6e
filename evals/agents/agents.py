"""An agent without a model: it knows some kinds of questions by their words, and has a plan for each of these.

It sees what any agent sees: questions, and what came of its commands. Some questions are beyond it.
"""

# ruff: noqa: S608 - statements are what it answers
from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    # Yields commands, and is sent what each of them wrote.
    Plan = Generator[str, str, None]


class Scripted:
    """One answer a turn, by tools where there are some; it keeps nothing from turn to turn."""

    async def act(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        said = [message for message in messages if message["role"] in ("user", "tool")]
        command = _next(_plan(said[0]["content"]), [message["content"] for message in said[1:]])
        if not tools:
            return {"role": "assistant", "content": command or "done"}
        name, arguments = ("execute_sql", {"sql": command}) if command else ("done", {})
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call_{len(said)}", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}


def _next(plan: Plan, seen: Sequence[str]) -> str | None:
    """Follow a plan to where nothing has come back yet; none where it has come to its end."""
    try:
        command = next(plan)
        for output in seen:
            command = plan.send(output)
    except StopIteration:
        return None
    return command


def _plan(question: str) -> Plan:
    for pattern, plan in PLANS.items():
        if found := re.search(pattern, question):
            yield from plan(*found.groups())
            return


# --- SQL --------------------------------------------------------------------------------------------------------------


def _set(item: str, price: str) -> Plan:
    yield f"UPDATE stock SET price = {price} WHERE item = '{item}'"


def _delete(amount: str) -> Plan:
    yield f"DELETE FROM stock WHERE amount < {amount}"


def _add(item: str, price: str, amount: str) -> Plan:
    yield f"INSERT INTO stock VALUES ('{item}', {price}, {amount})"


def _raise(most: str, by: str) -> Plan:
    yield f"UPDATE stock SET price = price + {by} WHERE price < {most}"


def _count(table: str) -> Plan:
    yield f"CREATE TABLE {table} (city, number)"
    yield f"INSERT INTO {table} SELECT city, COUNT(*) FROM people GROUP BY city"


def _cheapest() -> Plan:
    item = yield "SELECT item FROM stock ORDER BY price LIMIT 1"
    yield f"DELETE FROM stock WHERE item = '{item}'"


# --- files ------------------------------------------------------------------------------------------------------------


def _write(word: str, path: str) -> Plan:
    yield f"write {path} {word}"


def _rename(directory: str, old: str, new: str) -> Plan:
    yield f"mv {directory}/{old} {directory}/{new}"


def _move(target: str, end: str, source: str) -> Plan:
    yield f"mkdir {target}"
    names = yield f"ls {source}"
    for name in names.split():
        if name.endswith(end):
            yield f"mv {source}/{name} {target}"


def _remove_empty(directory: str) -> Plan:
    names = yield f"ls {directory}"
    for name in names.split():
        text = yield f"cat {directory}/{name}"
        if text == "(nothing)":
            yield f"rm {directory}/{name}"


def _search(directory: str, word: str, target: str) -> Plan:
    names = yield f"ls {directory}"
    for name in names.split():
        text = yield f"cat {directory}/{name}"
        if word in text:
            yield f"mv {directory}/{name} {target}"
            return


def _list(directory: str, path: str) -> Plan:
    names = yield f"ls {directory}"
    yield f"write {path} {' '.join(name for name in names.split() if not name.endswith('/'))}"


def _remove(end: str, directory: str) -> Plan:
    names = yield f"ls {directory}"
    for name in names.split():
        if name.endswith(end):
            yield f"rm {directory}/{name}"


PLANS: dict[str, Callable[..., Plan]] = {
    r"Set the price of the item (\w+) to (\d+)": _set,
    r"Delete all items of which the amount is below (\d+)": _delete,
    r"Add the item (\w+) with price (\d+) and amount (\d+)": _add,
    r"Raise the price of every item that costs less than (\d+) by (\d+)": _raise,
    r"Make a table (\w+) with the columns city and number": _count,
    r"Delete the item with the lowest price": _cheapest,
    r"Write the word (\w+) into the file (\S+?)\.?$": _write,
    r"Rename the file (\S+)/(\S+) to (\S+?)\.?$": _rename,
    r"Make the directory (\S+) and move every (\.\w+) file of (\S+) there": _move,
    r"Remove every file of (\S+) that is empty": _remove_empty,
    r"One file of (\S+) has the word (\w+) in it\. Move it to (\S+?)\.?$": _search,
    r"Write the names of the files in (\S+) into (\S+),": _list,
    r"Remove every (\.\w+) file that is anywhere below (\S+?)\.?$": _remove,
}
