"""A sample is always told of, were it that it could not begin."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.worker.dialogue import AgentAnswer, Asks, Saying
from pytest_evalrun.agents.worker.hosting import Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Told:
    """What a sample says, answered by the same text each time."""

    def __init__(self) -> None:
        self.said: list[Saying] = []
        self.asks = Asks(1, "x", self.ask, self.said.append)

    def ask(self, told: Saying) -> Future[AgentAnswer]:
        self.said.append(told)
        future: Future[AgentAnswer] = Future()
        future.set_result(AgentAnswer(message={"role": "assistant", "content": "y"}))
        return future

    @property
    def end(self) -> tuple[SampleStatus, Any]:
        return self.said[-1].status, json.loads(self.said[-1].output)["result"]


class Toolless:
    @property
    def tools(self) -> list[Any]:
        raise RuntimeError("no tools today")

    def start_sample(self, index: str, session: Any) -> bool:
        raise NotImplementedError


class ToollessAsync(Toolless):
    async def start_sample(self, index: str, session: Any) -> bool:
        raise NotImplementedError


class Talks:
    def start_sample(self, index: str, session: Any) -> Any:
        return session.act(index, {"role": "agent", "content": "a"}, {"role": "user", "content": "b"}).content

    def odd(self, index: str, session: Any) -> Any:
        return session.act(3)

    def coroutine(self, index: str, session: Any) -> Any:
        return asyncio.sleep(0)

    def forks(self, index: str, session: Any) -> Any:
        pid = os.fork()
        if pid == 0:
            raise ValueError("in the child")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("task", [Toolless(), ToollessAsync()], ids=["plain", "async"])
def test_a_sample_whose_session_cannot_be_made_is_an_error_of_the_task(task: Any) -> None:
    """Whoever waits for it is answered."""
    told, script = Told(), Script(task, None)
    run: Callable[[], object] = lambda: (  # noqa: E731 - either way
        asyncio.run(script.perform_async(told.asks)) if script.is_async else script.perform(told.asks)
    )
    with pytest.raises(RuntimeError, match="no tools today"):
        run()
    status, result = told.end
    assert status is SampleStatus.TASK_ERROR
    assert "no tools today" in result


def test_messages_are_texts_of_the_user_or_of_any_role() -> None:
    """AgentBench's name for the assistant is known."""
    told = Told()
    Script(Talks(), None).perform(told.asks)
    assert json.loads(told.said[0].env_out or b"")["messages"] == [
        {"role": "user", "content": "x"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"},
    ]  # fmt: skip
    assert told.end == (SampleStatus.COMPLETED, "y")


ODD = {
    "no message": ("odd", SampleStatus.TASK_ERROR, "found 3 as a message; accepted: a text, or a dict with role"),
    "a coroutine": ("coroutine", SampleStatus.TASK_ERROR, "a coroutine that nobody awaited; accepted: `async def"),
    "a process that comes back": ("forks", SampleStatus.COMPLETED, "1"),
}


@pytest.mark.parametrize(("method", "status", "said"), ODD.values(), ids=ODD)
def test_what_a_task_does_is_its_own(
    monkeypatch: pytest.MonkeyPatch, method: str, status: SampleStatus, said: str
) -> None:
    """Mistakes are told as its errors; a process that it forks ends where the task does, and tells nothing."""
    task, told = Talks(), Told()
    monkeypatch.setattr(task, "start_sample", getattr(task, method))
    Script(task, None).perform(told.asks)
    assert len(told.said) == 1
    assert told.end[0] is status
    assert said in str(told.end[1])
