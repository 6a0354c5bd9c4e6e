"""Scoring what agents did: without references, with what samples took, and with how they ended."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_evalrun import registry
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.agents import lacks_overall
from pytest_evalrun.rundir.results import ends, read_result
from pytest_evalrun.suite.settings import Settings, Way

# What a session of a task server leaves of a sample, by the number that is its input.
AGENT = """
from pytest_evalrun.adapters.protocol import Detailed

class Agent:
    def __init__(self, path=None, fails=(), **more):
        self.fails = fails

    def predict(self, batch):
        return [self.one(sample) for sample in batch]

    def one(self, sample):
        x = sample.input + 10 * sample.generation
        if x in self.fails:
            raise ValueError("task error")
        status = "completed" if x % 4 else "task limit reached"
        detail = {"turns": x, "attempts": x + 1, "usage": {"input": 10, "output": x, "cached": 0}, "cost": 0.25}
        return Detailed({"status": status, "result": {"success": x % 2 == 1}}, detail)
"""


@pytest.fixture
def agent(shop):
    (shop.root / "agent.py").write_text(AGENT)
    shop.data()

    def make(*metrics, **settings):
        settings = {"adapter": "./agent.py:Agent", "reference": None, "max_batch_size": 1, **settings}
        return shop.pair(metrics=list(metrics), **settings)

    return make


def test_samples_without_references_are_scored(agent, evaluator):
    """A metric that needs no reference is computed, also one of what a line tells besides the prediction."""
    evaluation = evaluator(agent("success", "turns", "tokens", "cost_per_success"))
    assert evaluation.metrics == {"success": 0.5, "turns": 2.5, "tokens": 12.5, "cost_per_success": 0.5}
    lines = evaluator.contexts[0].paths.pair(agent().key).scores.read_text().splitlines()
    assert json.loads(lines[3]) == {
        "index": 3, "id": "s3", "success": 1.0, "turns": 3.0, "tokens": 13.0, "cost_per_success": 0.25,
        "statistic": {"cost_per_success": [0.25, 1.0]},
    }  # fmt: skip


def test_metric_that_needs_a_reference_names_the_sample(agent, evaluator):
    """Who asks for what a task cannot give is told which metric that is, and of which sample."""
    with pytest.raises(PairError, match="sample s0: metric exact_match: the prediction is a mapping"):
        evaluator(agent("exact_match"))


def test_several_generations_are_successes_too(agent, evaluator):
    """pass@k and pass^k are made of the scores of success."""
    evaluation = evaluator(agent("success", {"pass_at": {"k": [1, 2]}}, {"pass_hat": {"k": 2}}, generations=2))
    assert evaluation.metrics == {"success": 0.5, "pass_at_1": 0.5, "pass_at_2": 0.5, "pass_hat_2": 0.5}


def test_users_metric_may_have_the_details(agent, shop, evaluator):
    """A class that says so is given what lines have besides predictions."""
    (shop.root / "own.py").write_text(
        "from pytest_evalrun.metrics.protocol import MetricValue\n"
        "class Most:\n"
        "    better, takes_details, most = 'lower', True, 0\n"
        "    def update(self, predictions, references, details):\n"
        "        self.most = max(self.most, *(detail['attempts'] for detail in details))\n"
        "        return [None] * len(predictions)\n"
        "    def result(self):\n"
        "        return MetricValue(self.most, 6, self.most, self.most, self.better)\n"
    )
    assert evaluator(agent("./own.py:Most")).metrics == {"Most": 6}


def test_usage_counts_turns_as_requests(agent, evaluator):
    """An agent's requests are its turns; tokens and costs of all samples are added up."""
    usage = evaluator(agent("success")).result.usage
    assert (usage["requests"], usage["attempts"]) == (15, 21)
    assert (usage["input"], usage["output"], usage["cost"]) == (60, 15, 1.5)


def test_number_of_the_task_is_read_from_its_file(agent, evaluator):
    """``overall`` is what overall.json of the pair says, as it is when the pair is scored."""
    pair = agent({"overall": {"field": "acc"}})
    with pytest.raises(PairError, match=r"metric overall: there is no overall\.json of this pair"):
        evaluator(pair)
    overall = evaluator.contexts[0].paths.pair(pair.key).agent.overall
    overall.parent.mkdir(parents=True)
    overall.write_text(json.dumps({"custom": {"acc": 0.75}, "coverage": {"finished": 6, "total": 6}}))
    assert evaluator(pair).metrics == {"overall": 0.75}


def of_task(pair):
    """The same pair as one of a task server, for whoever counts how samples end; its data are read all the same."""
    (layer,) = pair.layers
    return replace(pair, layers=(replace(layer, values={**layer.values, "format": "agentbench"}),))


@pytest.fixture
def tasks_are_tables(monkeypatch):
    """A task's indices are those of the table here: what is scored of them is the same."""
    jsonl = registry.find(registry.READERS, "jsonl")
    real = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: jsonl if name == "agentbench" else real(group, name))
    monkeypatch.setattr(Settings, "way", Way.MODEL)


def test_statuses_are_counted(agent, evaluator, tasks_are_tables):
    """A result says how samples ended, and how many came to nothing; it is read back, and said in the pair's log."""
    pair = of_task(agent("success", max_failed=1, params={"fails": [1]}))
    result = evaluator(pair).result
    assert result.statuses == {"completed": 3, "task limit reached": 2, "failed": 1}
    assert read_result(evaluator.contexts[0].paths.pair(pair.key).result) == result
    assert ends(result.statuses) == "3 completed, 2 task limit reached, 1 failed"


def test_other_models_have_no_statuses(agent, evaluator):
    """A model that answers with what looks like one has none."""
    assert evaluator(agent("success")).result.statuses is None


@pytest.mark.parametrize(
    ("metrics", "overall", "lacks"),
    [
        (["success"], None, False),
        (["success", "overall"], None, True),
        (["overall"], {"custom": 1, "coverage": {"finished": 5, "total": 6}}, True),
        (["overall"], {"custom": None, "custom_error": "boom", "coverage": {"finished": 6, "total": 6}}, True),
        (["overall"], {"custom": 1, "coverage": {"finished": 6, "total": 6}}, False),
    ],
    ids=["nobody asks", "no file", "partial", "failed", "whole"],
)
def test_task_is_asked_once_more(agent, evaluator, metrics, overall, lacks):
    """Where a kill has left a partial overall.json, and a metric is made of it, the pair is opened again."""
    pair = of_task(agent(*metrics))
    paths = evaluator.context().paths.pair(pair.key)
    paths.agent.overall.parent.mkdir(parents=True)
    if overall is not None:
        paths.agent.overall.write_text(json.dumps(overall))
    assert lacks_overall(pair, paths) == lacks
    assert not lacks_overall(agent(*metrics), paths)


def test_files_of_agents_go_and_come_with_predictions(agent, evaluator):
    """Changed and changed back: runs lie aside as what they belong to does, and are found again with it."""
    one, other = agent("success"), agent("success", params={"more": 1})
    paths = evaluator.context().paths.pair(one.key)
    for pair, text in ((one, "one"), (other, "other")):
        evaluator(pair)
        assert not paths.agent_directory.exists()
        paths.agent.runs.parent.mkdir(parents=True)
        paths.agent.runs.write_text(text)
    evaluator(one)
    stale = paths.agent_directory.with_name(f"{paths.agent_directory.name}.stale")
    assert (paths.agent.runs.read_text(), (stale / "runs.jsonl").read_text()) == ("one", "other")
    evaluator(one, fresh=True, run_id="later")
    old = paths.agent_directory.with_name(f"{paths.agent_directory.name}.old")
    assert ((old / "runs.jsonl").read_text(), paths.agent_directory.exists()) == ("one", False)
