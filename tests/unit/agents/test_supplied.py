"""What AgentBench's tasks import of AgentBench is there, the user's own first."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.agents.worker.supplied import supply
from pytest_evalrun.agents.worker.tasksessions import written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = """
AgentOutput AgentOutputStatus ChatHistoryItem InstanceFactory SampleIndex SampleStatus TaskOutput WorkerStatus
TaskSampleExecutionResult AgentBenchException AgentContextLimitException Dict List Any Union
""".split()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory whose ``src`` is found first, as a worker has it; afterwards nothing of it is left."""

    def forget() -> None:
        for name in [*sys.modules]:
            if name == "src" or name.startswith(("src.", "pytest_evalrun.agents.worker.supplied.task")):
                del sys.modules[name]

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    forget()
    supply()
    yield tmp_path
    forget()


def written_to(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    "module", ["src.typings", *(f"src.typings.{name}" for name in ("general", "output", "status", "exception"))]
)
def test_all_values_are_there_without_a_package_of_the_users(root: Path, module: str) -> None:
    """By each module that has them at AgentBench; they are the same ones everywhere."""
    found = importlib.import_module(module)
    assert [name for name in NAMES if not hasattr(found, name)] == []
    assert found.TaskOutput is importlib.import_module("src.typings").TaskOutput
    assert root.exists()


def test_a_package_of_the_users_keeps_all_that_it_has(root: Path) -> None:
    """Only modules that are missing are supplied, beside and below its own."""
    written_to(
        root,
        {
            "src/__init__.py": "MINE = True\n",
            "src/server/tasks/own.py": "from src.server.task import Task\nfrom src.typings import TaskOutput\n",
            "src/typings/__init__.py": "from .general import ChatHistoryItem\n",
            "src/typings/general.py": "class ChatHistoryItem:\n    mine = True\n",
        },
    )
    assert importlib.import_module("src").MINE
    assert importlib.import_module("src.typings").ChatHistoryItem.mine
    with pytest.raises(ImportError, match="cannot import name 'TaskOutput'"):
        importlib.import_module("src.server.tasks.own")
    assert importlib.import_module("src.typings.status").SampleStatus("completed")


def test_a_session_speaks_in_the_values_of_the_user(root: Path) -> None:
    """Where ``src.typings`` is the user's, its classes are those that a supplied session makes."""
    own = """
class ChatHistoryItem:
    def __init__(self, role, content):
        self.role, self.content = role, content

    @classmethod
    def parse_obj(cls, value):
        return cls(**value)
"""
    written_to(root, {"src/typings.py": own})
    session = importlib.import_module("src.server.task").Session()
    session.inject([{"role": "user", "content": "a"}])
    assert type(session.history[0]) is importlib.import_module("src.typings").ChatHistoryItem


def test_a_session_of_the_users_stays_its_own(root: Path) -> None:
    """Nothing of a whole AgentBench is replaced."""
    written_to(root, {"src/server/task.py": "class Session:\n    mine = True\n"})
    assert importlib.import_module("src.server.task").Session.mine


def test_values_are_used_as_those_of_agentbench(root: Path) -> None:
    """Enums are compared by `is`, and by their text; models are parsed, written, changed and refused."""
    typings = importlib.import_module("src.typings")
    output = typings.TaskOutput.parse_obj({"index": 3, "status": "completed", "result": {"a": 1}})
    assert output.status is typings.SampleStatus.COMPLETED
    assert output.dict() == {"index": 3, "status": "completed", "result": {"a": 1}, "history": None}
    assert typings.TaskOutput.parse_obj({}).status is typings.SampleStatus.RUNNING
    item = typings.ChatHistoryItem(role="user", content="a")
    item.content += "b"
    assert item.json() == '{"role":"user","content":"ab"}'
    assert typings.AgentOutput(status="cancelled").status is typings.AgentOutputStatus.CANCELLED
    with pytest.raises(ValueError, match="content should not be None"):
        typings.AgentOutput(status="normal")
    with pytest.raises(ValueError, match="role"):
        typings.ChatHistoryItem(role="assistant", content="a")
    assert typings.InstanceFactory.parse_obj({"module": "fractions.Fraction", "parameters": None}).create() == 0
    limit = typings.AgentContextLimitException("8k")
    assert isinstance(limit, typings.AgentBenchException)
    assert str(limit) == "AgentContextLimitException[agent_context_limit]: 8k"
    assert root.exists()


class _Echo:
    def __init__(self, typings: Any, status: str = "normal") -> None:
        self.shown: list[Any] = []
        self._typings = typings
        self._status = status

    async def env_pull(self, history: list[Any]) -> Any:
        self.shown = history
        return self._typings.AgentOutput(status=self._status, content="ok" if self._status == "normal" else None)


def test_a_session_keeps_what_was_said(root: Path) -> None:
    """What is injected, what the agent answers, and its status where it does not answer."""
    typings, module = importlib.import_module("src.typings"), importlib.import_module("src.server.task")
    session = module.Session()
    session.inject([{"role": "user", "content": "a"}, []])
    session.inject(typings.ChatHistoryItem(role="agent", content="b"))
    session.controller = _Echo(typings)
    assert asyncio.run(session.action({"role": "user", "content": "c"})).content == "ok"
    session.controller = _Echo(typings, "agent context limit")
    asyncio.run(session.action({"role": "user", "content": "d"}))
    said = [(item.role, item.content) for item in session.history]
    assert said == [
        ("user", "a"), ("agent", "b"), ("user", "c"), ("agent", "ok"), ("user", "d"), ("agent", "agent context limit")
    ]  # fmt: skip
    assert written([item.content for item in session.history][-1]) == b'"agent context limit"'
    with pytest.raises(AssertionError, match="Invalid message length"):
        asyncio.run(session.action())
    with pytest.raises(TypeError, match="Unsupported type"):
        session.inject(3)
    session.clear()
    assert session.history == []
    assert root.exists()


# Of 3,500 pieces: a word counts one for every seven letters that it begins, any other sign but blanks counts one.
SHORTENED = {
    "all that fits": (["a"] * 5, [0, 1, 2, 3, 4]),
    "one piece too many": (["a", "b", "1" * 3498], [0]),
    "as many as there may be": (["a", "b", "1" * 3497], [0, 1, 2]),
    "words": (["a", "abcdefg " * 1000, "abcdefgh\n" * 1600, "x", "y"], [0, 3, 4]),
    "never the user's first": (["a", "1" * 3000, "1" * 500, "d", "e"], [0, 3, 4]),
    "the first alone is too long": (["1" * 4000, "b", "c"], [0]),
}


@pytest.mark.parametrize(("texts", "kept"), SHORTENED.values(), ids=SHORTENED)
def test_a_long_history_loses_its_middle(root: Path, texts: list[str], kept: list[int]) -> None:
    """The first message stays, and of the last as many as fit; what an agent said comes first of these."""
    session = importlib.import_module("src.server.task").Session()
    session.inject([{"role": ("user", "agent")[place % 2], "content": text} for place, text in enumerate(texts)])
    shown = [item.content for item in session.filter_messages(session.history)]
    notice = f"\n\n[NOTICE] {len(texts) - len(kept)} messages are omitted." if len(kept) < len(texts) else ""
    assert shown == [texts[0] + notice, *(texts[place] for place in kept[1:])]
    assert root.exists()
