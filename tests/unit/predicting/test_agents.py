"""Episodes of agents: what is asked again, what begins anew, what fails, and that every slot is given back."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import pytest

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.agents.protocol import Act, ContextLimit, ServerFault, Standing, TaskSlots
from pytest_evalrun.agents.statuses import Fault, SampleStatus
from pytest_evalrun.children.faults import ModelError
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.llm.budget import Budget
from pytest_evalrun.llm.limiter import Concurrency
from pytest_evalrun.llm.refusals import Passing
from pytest_evalrun.llm.wire import Usage
from pytest_evalrun.predicting import agents, episode, patience
from pytest_evalrun.predicting.agents import AgentSession
from pytest_evalrun.predicting.episode import AgentWork
from pytest_evalrun.predicting.patience import Patience
from pytest_evalrun.predicting.session import Again, Answers
from pytest_evalrun.rundir.agentfiles import AgentFiles
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.layout import PairPaths
from pytest_evalrun.suite.pairs import PairKey

SAMPLE = Sample(0, "7", {"index": 7})


class Counting:
    """A task server in this process: wants to be answered ``turns`` times, and knows which sessions live."""

    def __init__(self, turns=2, capacity=3):
        self.turns, self.capacity = turns, capacity
        self.waits = False
        self.living: dict[int, int] = {}
        self.calls: Counter[str] = Counter()
        self.statuses: list[str] = []
        self.begun = 0
        # What calls do instead, by name: each once.
        self.instead: dict[str, list[object]] = {}

    def _faulty(self, call):
        self.calls[call] += 1
        if found := self.instead.get(call):
            what = found.pop(0)
            if isinstance(what, Exception):
                raise what
            return what
        return None

    async def start_sample(self, name, index, *, wait=0.0):
        if (other := self._faulty("start")) is not None:
            return other
        if len(self.living) == self.capacity:
            raise ServerFault(Fault.NOT_AVAILABLE, "no slot", 406)
        self.begun += 1
        self.living[self.begun] = 0
        return self._standing(self.begun, [{"role": "user", "content": f"{name} {index}"}])

    async def interact(self, session_id, message, status="normal", before=()):
        self.statuses.append(status)
        if (other := self._faulty("interact")) is not None:
            return other
        self.living[session_id] += 1
        if status != "normal" or self.living[session_id] == self.turns:
            del self.living[session_id]
            ended = SampleStatus.COMPLETED if status == "normal" else SampleStatus(status)
            return Standing(session_id, ended, history=[{"role": "user", "content": "x"}], result={"said": len(before)})
        return self._standing(session_id, [{"role": "user", "content": "go on"}])

    def _standing(self, session_id, messages):
        return Standing(session_id, SampleStatus.RUNNING, messages)

    async def renew(self, session_id):
        self.calls["renew"] += 1

    async def cancel(self, session_id):
        if self._faulty("cancel") is not None:
            return False
        self.living.pop(session_id, None)
        return True

    async def slots(self, name):
        if (other := self._faulty("slots")) is not None:
            return other
        return TaskSlots(self.capacity, len(self.living))

    async def calculate_overall(self, name, results):
        if (other := self._faulty("overall")) is not None:
            return other
        return {"results": len(results)}

    async def close(self):
        self.calls["close"] += 1


class Saying:
    """An agent that does one thing after the other, and then answers."""

    def __init__(self, *things, answer="yes"):
        self.things, self.answer = list(things), answer
        self.shown: list[int] = []

    async def act(self, conversation):
        self.shown.append(len(conversation.messages))
        thing = self.things.pop(0) if self.things else self.answer
        if isinstance(thing, Exception):
            raise thing
        if callable(thing):
            await thing()
        return Act({"role": "assistant", "content": self.answer}, usage=Usage(10, 2), cost=0.5)


class Table:
    """A task server, an agent, and what comes of them."""

    def __init__(self, directory, server, agent, retries=1, at_once="2", died=lambda: None):
        self.server, self.said = server, []
        paths = PairPaths(directory / "run", PairKey("suite", "agent", "task"))
        self.files = AgentFiles(paths, Disk())
        self.errors = paths.agent.errors
        budget = Budget("agent:x", None, Concurrency.parse(at_once), event=lambda *_, **__: None, directory=directory)
        work = AgentWork(
            agent, server, "task", self.files, "http://x/api", budget, [budget], retries, self.said.append,
            lambda: None, died, Patience(),
        )  # fmt: skip
        self.session = AgentSession(work)

    def ask(self, sample=SAMPLE):
        return self.session.submit([sample]).result(timeout=20)

    def faults(self):
        lines = self.errors.read_text().splitlines() if self.errors.exists() else []
        return [json.loads(line)["error"] for line in lines]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close(at_once=True)
        self.files.close(at_once=True)
        self.session.leave()
        assert self.server.living == {}, "every slot is free"


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    (tmp_path / "run").mkdir()
    tmp_path.chmod(0o700)
    monkeypatch.setattr(episode, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(episode, "CANCEL_SECONDS", 0.01)
    monkeypatch.setattr(agents, "FIRST_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(agents, "LOOK_SECONDS", 0.1)


def test_episode_ends_with_what_the_environment_says(tmp_path):
    """Its status and result are the prediction; turns, tokens, cost and the history lie beside it."""
    agent = Saying()
    with Table(tmp_path, Counting(turns=2), agent) as table:
        answers = table.ask()
    assert isinstance(answers, Answers)
    (answer,) = answers.predictions
    assert answer.prediction == {"status": "completed", "result": {"said": 4}}
    told = {name: answer.detail[name] for name in ("index", "turns", "attempts", "usage", "cost", "session")}
    assert told == {
        "index": 7, "turns": 2, "attempts": 2, "usage": {"input": 20, "output": 4, "cached": 0}, "cost": 1.0,
        "session": 1,
    }  # fmt: skip
    assert answer.detail["history"] == [{"role": "user", "content": "x"}]
    assert agent.shown == [1, 3], "the whole conversation, each time"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Passing("slow down", 429, 0.0, limited=True), id="a rate limit"),
        pytest.param(Passing("overloaded", 503), id="a server without room"),
        pytest.param(ConnectionResetError("gone"), id="a lost connection"),
    ],
)
def test_refusal_is_asked_again_within_the_episode(tmp_path, error):
    """The sample does not begin anew because its agent was refused in the third turn."""
    server = Counting(turns=2)
    with Table(tmp_path, server, Saying("yes", error)) as table:
        assert table.ask().predictions[0].prediction["status"] == "completed"
        assert (server.begun, table.faults()) == (1, [])


@pytest.mark.parametrize(
    ("things", "raised"),
    [
        pytest.param([Passing("500", 500), Passing("500", 500)], ModelError, id="more failures than retries"),
        pytest.param([SampleError("no")], SampleError, id="a final error"),
        pytest.param([ValueError("a mistake")], ValueError, id="a mistake of the user's class"),
        pytest.param([PairError("wrong key")], PairError, id="an error of the pair"),
    ],
)
def test_failure_of_an_agent_is_no_score(tmp_path, things, raised):
    """It is raised and written down, and the environment is told to end."""
    server = Counting()
    with Table(tmp_path, server, Saying(*things), retries=1) as table:
        with pytest.raises(raised):
            table.ask()
        assert (table.faults(), server.living) == (["AGENT_FAILED"], {})


def test_full_context_is_the_environments_to_judge(tmp_path):
    """It is told so, and the sample ends with that status."""
    server = Counting()
    with Table(tmp_path, server, Saying(ContextLimit("too long"))) as table:
        assert table.ask().predictions[0].prediction["status"] == "agent context limit"
        assert server.statuses == ["agent context limit"]


FAULTS = {
    "a task that raises": ({"interact": [Standing(1, SampleStatus.TASK_ERROR, result="Traceback\nKeyError: 3")]}, True),
    "a task that raises at once": ({"start": [Standing(1, SampleStatus.TASK_ERROR, result="KeyError: 3")]}, True),
    "cancelled by somebody": ({"interact": [Standing(1, SampleStatus.CANCELLED)]}, True),
    "a worker that does not answer": ({"interact": [ServerFault(Fault.INTERACT_FAILED, "not responding", 400)]}, True),
    "a controller that has gone": ({"interact": [ServerFault(Fault.NETWORK_ERROR, "gone")]}, False),
    "a controller that was never there": ({"start": [ServerFault(Fault.NETWORK_ERROR, "gone")]}, False),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_of_the_server_begins_the_sample_anew(tmp_path, name):
    """It is no score, and one of the sample's retries only where the sample may be to blame."""
    instead, counts = FAULTS[name]
    server = Counting()
    server.instead = {call: list(what) for call, what in instead.items()}
    with Table(tmp_path, server, Saying()) as table:
        again = table.ask()
        assert isinstance(again, Again)
        assert (again.counts, again.failing, len(table.faults())) == (counts, not counts, 1)
        server.living.clear() if "task" in name or "cancelled" in name else None  # there it has ended by itself
        assert isinstance(table.ask(), Answers)


def test_session_is_cancelled_once_its_controller_is_back(tmp_path):
    """A slot is not lost because nobody could be told at once."""
    server = Counting()
    server.instead = {"interact": [ServerFault(Fault.NETWORK_ERROR, "gone")], "cancel": ["away", "away", "away"]}
    with Table(tmp_path, server, Saying()) as table:
        assert isinstance(table.ask(), Again)
        assert (server.calls["cancel"], server.living) == (4, {})


def test_no_free_slot_is_nobodys_fault(tmp_path):
    """The sample comes back soon, and no try of it is gone."""
    server = Counting()
    server.instead = {"start": [ServerFault(Fault.NOT_AVAILABLE, "No workers available", 406)] * 2}
    with Table(tmp_path, server, Saying()) as table:
        first, second = table.ask(), table.ask()
        assert (first.counts, second.counts, first.after < second.after, table.faults()) == (False, False, True, [])


@pytest.mark.parametrize(("at_once", "capacity", "wanted"), [("2", 5, 2), ("8", 3, 3), ("4", 4, 4)])
def test_as_many_at_once_as_both_sides_take(tmp_path, at_once, capacity, wanted):
    """The smaller one of what the agent and the workers take."""
    with Table(tmp_path, Counting(capacity=capacity), Saying(), at_once=at_once) as table:
        assert table.session.in_flight == wanted


def test_some_wait_where_the_controller_lets_them(tmp_path):
    """A slot that becomes free is taken before its end is kept, as far as the agent takes so many."""
    server = Counting(capacity=3)
    with Table(tmp_path, server, Saying(), at_once="8") as table:
        server.waits = True
        assert table.session.in_flight == 2 * 3
        server.capacity = 0
        while table.session.in_flight:  # until it has looked
            time.sleep(0.01)


def test_session_is_kept_while_its_agent_thinks(tmp_path, monkeypatch):
    """Its lease is renewed until the agent has answered."""
    monkeypatch.setattr(episode, "RENEW_SECONDS", 0.01)
    server = Counting(turns=1)

    async def until_renewed():
        while not server.calls["renew"]:
            await asyncio.sleep(0.01)

    with Table(tmp_path, server, Saying(until_renewed)) as table:
        assert isinstance(table.ask(), Answers)


def test_what_is_under_way_is_cancelled_with_the_pair(tmp_path):
    """Ctrl-C leaves no session that holds a slot."""
    server, asked = Counting(), []

    async def forever():
        asked.append(True)
        await asyncio.sleep(3600)

    with Table(tmp_path, server, Saying(forever)) as table:
        future = table.session.submit([SAMPLE])
        with Coroutines() as coroutines:
            coroutines.start(_until(lambda: asked)).result(timeout=20)
        table.session.close(at_once=True)
        assert (future.cancelled(), server.living) == (True, {})


async def _until(condition):
    while not condition():
        await asyncio.sleep(0.01)


def test_pair_ends_where_everything_is_refused(tmp_path, monkeypatch):
    """Nobody waits for ever for an agent that refuses all."""
    monkeypatch.setattr(patience, "HOPELESS_SECONDS", 0.05)
    refusals = [Passing("busy", 429, 0.03, limited=True) for _ in range(20)]
    with (
        Table(tmp_path, Counting(), Saying(*refusals)) as table,
        pytest.raises(PairError, match="nobody was answered"),
    ):
        table.ask()


def test_pair_ends_where_no_worker_is_left(tmp_path, monkeypatch):
    """A task without workers is waited for a while, and told then."""
    monkeypatch.setattr(agents, "NO_WORKER_SECONDS", -1.0)
    with (
        Table(tmp_path, Counting(capacity=0), Saying()) as table,
        pytest.raises(PairError, match="the task task has had no worker"),
    ):
        _ = table.session.in_flight


def test_server_that_is_not_there_is_told(tmp_path):
    """After some looks, with what it says."""
    server = Counting()
    server.instead = {"slots": [ServerFault(Fault.NETWORK_ERROR, "http://x/api: refused")] * 20}
    with pytest.raises(PairError, match="refused"):
        Table(tmp_path, server, Saying())
    assert server.calls["close"] == 1


def test_score_waits_for_a_worker_that_is_started_again(tmp_path):
    """One that died with the last sample is there again in a moment; another fault is told at once."""
    server = Counting()
    none = ServerFault(Fault.INTERACT_FAILED, "HTTP 400: Error: No workers available", 400)
    server.instead = {"overall": [none, none]}
    with Table(tmp_path, server, Saying()) as table:
        assert table.session.calculate([{}, {}]) == {"results": 2}
        server.instead = {"overall": [ServerFault(Fault.INTERACT_FAILED, "HTTP 500: KeyError", 500)]}
        with pytest.raises(ServerFault, match="KeyError"):
            table.session.calculate([{}])


def test_end_of_the_agents_own_server_ends_the_pair(tmp_path):
    """Whoever loads it again begins with what is missing."""
    death = PairError("the server of the model ended")
    things = [Passing("no connection", nobody=True)]
    with (
        Table(tmp_path, Counting(), Saying(*things), died=lambda: death) as table,
        pytest.raises(PairError, match="ended"),
    ):
        table.ask()
