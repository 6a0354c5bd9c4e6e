"""One sample's way through a task server: begun, asked turn by turn, ended; in any case its slot is given back."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.agents.protocol import ContextLimit, Conversation, ServerFault
from pytest_evalrun.agents.statuses import Fault, SampleStatus
from pytest_evalrun.children.faults import ModelError, may_pass
from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.refusals import Passing
from pytest_evalrun.llm.wire import CUT_SHORT, Usage
from pytest_evalrun.predicting.session import Again, Answers, summary_of
from pytest_evalrun.suite.waiting import backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.agents.protocol import Act, Agent, Message, Standing, TaskServer
    from pytest_evalrun.children.faults import ModelDied
    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.llm.budget import Budget
    from pytest_evalrun.predicting.patience import Patience
    from pytest_evalrun.rundir.agentfiles import AgentFiles

# A controller that knows how keeps a sample waiting for a slot so long; others answer at once that there is none.
WAIT_SECONDS = 20.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 60.0
# Controllers end sessions that nobody has asked for in four minutes, those of a launch in one.
RENEW_SECONDS = 15.0
# A controller that has gone may come back, and still have the session.
CANCEL_TRIES, CANCEL_SECONDS = 20, 0.5


class Places(Protocol):
    """How many there may be at once of something that others want, too, of which ``busy`` there are."""

    def room(self, busy: int, /) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class AgentWork:
    """What all sessions of a pair have in common.

    ``revive`` looks after a task server that was started for this launch, where it has gone; ``died`` tells how a
    program of ours that serves the agent's model has ended, where it did; ``budget`` is the agent's, and ``places``
    are all limits that hold besides what the workers take.
    """

    agent: Agent
    server: TaskServer
    task: str
    files: AgentFiles
    url: str
    budget: Budget
    places: Sequence[Places]
    retries: int
    say: Callable[[str], None]
    revive: Callable[[], object]
    died: Callable[[], ModelDied | None]
    patience: Patience


class Episode:
    """A sample, its session, and what its agent has been told so far. ``tries`` counts those that ended in a fault."""

    def __init__(self, work: AgentWork, sample: Sample, tries: int) -> None:
        self.tries = tries
        self._work = work
        self._sample = sample
        self._index = sample.input["index"]
        self._session: int | None = None
        self._since = time.time()
        self._turns = self._attempts = 0
        self._messages: list[Message] = []
        self._usage: Usage | None = None
        self._cost: float | None = None
        self._finish_reason: str | None = None
        self._waits_for = "a slot"

    def row(self) -> dict[str, Any]:
        """What can be seen of it from outside."""
        since, session, turns = round(self._since, 3), self._session, self._turns
        return {"id": session, "index": self._index, "since": since, "waiting_for": self._waits_for, "turns": turns}

    async def run(self) -> Answers | Again:
        """Return how the sample ended, or when to ask again after a fault of the task server.

        Raises what the agent raised where another try is in vain, and PairError.
        """
        started = time.perf_counter()
        try:
            standing = await self._start()
            started += standing.waited
            while standing.status is SampleStatus.RUNNING:
                standing = await self._turn(standing)
        except ServerFault as fault:
            return self._fault(fault)
        except Exception as error:
            self._note(Fault.AGENT_FAILED, summary_of(error))
            raise
        finally:
            await self._give_back()
        if standing.status.is_fault:
            text = f"{standing.status}: {_last_line(standing.result)}"
            return self._fault(ServerFault(Fault.INTERACT_FAILED, text), standing)
        return self._answered(standing, time.perf_counter() - started)

    async def _start(self) -> Standing:
        standing = await self._work.server.start_sample(self._work.task, self._index, wait=WAIT_SECONDS)
        self._since = time.time()
        self._keep(standing)
        return standing

    async def _turn(self, standing: Standing) -> Standing:
        """The agent answers what the environment has said, and the environment answers that."""
        self._waits_for = "the agent"
        assert self._session is not None, "it runs"
        try:
            act = await self._asked(Conversation(self._messages, standing.tools, self._sample.generation))
        except ContextLimit:
            message, status = None, SampleStatus.AGENT_CONTEXT_LIMIT.value
        else:
            self._count(act)
            self._messages.append(act.message)
            message, status = act.message, "normal"
        self._waits_for = "the environment"
        answer = await self._work.server.interact(self._session, message, status, self._messages)
        self._turns += 1
        self._keep(answer)
        return answer

    def _keep(self, standing: Standing) -> None:
        """Add what is new to the conversation; a session that has ended is nobody's any more."""
        self._session = standing.session_id if standing.status is SampleStatus.RUNNING else None
        if standing.replaces:
            self._messages = []
        self._messages.extend(standing.messages)

    async def _asked(self, conversation: Conversation) -> Act:
        """Ask the agent again where it may pass: the sample need not begin anew, and its session is kept meanwhile."""
        import asyncio

        renewing = asyncio.ensure_future(self._renew())
        try:
            tries = untold = 0
            while True:
                try:
                    return await self._asked_once(conversation, tries + untold)
                except ContextLimit:
                    raise
                except Exception as error:
                    if not (isinstance(error, Passing) or may_pass(error)):
                        raise
                    if (death := self._work.died()) is not None:
                        raise death from None
                    counts = not isinstance(error, Passing) or error.counts
                    pause = self._pause(error, tries + untold)
                    if counts and tries == self._work.retries:
                        raise ModelError(summary_of(error)) from None
                    tries, untold = tries + counts, untold + (not counts)
                    await asyncio.sleep(pause)
        finally:
            renewing.cancel()

    async def _asked_once(self, conversation: Conversation, before: int) -> Act:
        patience, budget = self._work.patience, self._work.budget
        patience.asked(self)
        try:
            act = await self._work.agent.act(conversation)
        except BaseException:
            patience.ended(self)
            raise
        patience.answered(self)
        budget.succeeded(not before)
        return act

    def _pause(self, error: Exception, tries: int) -> float:
        """Seconds until it is asked again. Raises PairError where everything has been refused for a minute."""
        passing, budget = error if isinstance(error, Passing) else None, self._work.budget
        after = passing.after if passing is not None else None
        budget.limited(after) if passing is not None and passing.limited else budget.troubled()
        if self._work.patience.refused(self, after):
            raise PairError(f"nobody was answered for a minute; the last time: {summary_of(error)}") from None
        self._work.say(f"{self._work.task} {self._index}: the agent is asked again: {summary_of(error)}")
        grown = backoff(tries, BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
        return grown if after is None else after

    async def _renew(self) -> None:
        import asyncio

        while self._session is not None:
            await asyncio.sleep(RENEW_SECONDS)
            await self._work.server.renew(self._session)

    def _count(self, act: Act) -> None:
        """Add up what a turn took; that one was cut short is told of the whole sample."""
        self._attempts += act.attempts
        if act.usage is not None:
            self._usage = act.usage + (self._usage or Usage())
        if act.cost is not None:
            self._cost = act.cost + (self._cost or 0.0)
        if self._finish_reason not in CUT_SHORT:
            self._finish_reason = act.finish_reason or self._finish_reason

    async def _give_back(self) -> None:
        """Cancel a session that has not ended, from the controller that has it, once that is there again."""
        import asyncio

        for _ in range(CANCEL_TRIES):
            if self._session is None or await self._work.server.cancel(self._session):
                return
            await asyncio.sleep(CANCEL_SECONDS)

    def _fault(self, fault: ServerFault, standing: Standing | None = None) -> Again:
        """When to begin the sample anew: that there was no slot, or nobody, is no try of it."""
        if fault.fault is Fault.NOT_AVAILABLE:
            pause = backoff(self.tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self.tries += 1
            return Again(pause, str(fault), counts=False)
        gone = fault.fault is Fault.NETWORK_ERROR
        self._note(fault.fault, str(fault), standing)
        pause = backoff(self.tries, BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
        self.tries += 1
        return Again(pause, f"{fault.fault}: {fault}", counts=not gone, failing=gone)

    def _note(self, fault: Fault, text: str, standing: Standing | None = None) -> None:
        output = None if standing is None else _output(self._index, standing, standing.history)
        self._work.files.error(self._index, fault, text, output)

    def _answered(self, standing: Standing, seconds: float) -> Answers:
        prediction: dict[str, Any] = {"status": standing.status.value, "result": standing.result}
        more = {"reward": standing.reward, "metrics": standing.metrics}
        prediction |= {name: value for name, value in more.items() if value is not None}
        detail: dict[str, Any] = {
            "index": self._index,
            "turns": self._turns,
            "attempts": self._attempts,
            "usage": self._usage.to_json() if self._usage else None,
            "cost": self._cost,
            "finish_reason": self._finish_reason,
            "session": standing.session_id,
            "ended": round(time.time(), 3),
            "history": list(standing.history),
        }
        detail = {name: value for name, value in detail.items() if value is not None}
        return Answers([Detailed(prediction, detail)], seconds)


def _output(index: Any, standing: Standing, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """AgentBench's TaskOutput."""
    return {"index": index, "status": standing.status.value, "result": standing.result, "history": list(history)}


def _last_line(result: Any) -> str:
    """Of a traceback what it says in the end."""
    lines = str(result or "").strip().splitlines()
    return lines[-1] if lines else "the task says nothing of why"
