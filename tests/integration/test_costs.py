"""Money: what is spent is known whatever ends a launch, and a limit stops it in time."""

from __future__ import annotations

import json

import pytest
from llmserver import llm_server

from pytest_evalrun.rundir.costs import read_costs

# A request with these costs 0.001 for the one token of "yes", whatever is asked.
PRICE = {"input": 0, "output": 1000}


@pytest.fixture(scope="module")
def running():
    with llm_server("--canned", "yes") as server:
        yield server


@pytest.fixture
def server(running):
    """Without faults, and nothing counted yet."""
    running.faults(delay=None, length=None)
    running.reset()
    return running


@pytest.fixture
def priced(project, server):
    """The suite, with questions in place of numbers, asked of the server."""

    def make(datasets=("one",), samples=20, **top):
        words = {"base_url": server.url, "model": "ngram", "concurrency": 2, "price": PRICE, "models": [{"name": "m"}]}
        project.make((), datasets)
        project.yaml((), datasets, **{"adapter": "openai", **words, "metrics": ["exact_match"]} | top)
        for name in datasets:
            rows = [{"x": f"{name} {number}?", "y": "yes"} for number in range(samples)]
            (project.suite / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return project

    return make


def answered(server):
    return server.stats()["answered"]


def test_limit_stops_in_time_and_a_higher_one_carries_on(priced, server):
    """Exit code 1, what was spent and what is left; then what was paid is not paid again."""
    project = priced()
    stopped = project.run("evals", "--eval-max-cost", "0.005")
    assert stopped.code == 1
    asked = answered(server)
    assert asked in (5, 6), "what was in flight is answered, and kept"
    assert f"spent 0.00{asked} USD of 0.005 USD (" in stopped
    assert f"in flight); {20 - asked} of 20 samples of 1 pair are left; the same command with a higher" in stopped
    done = project.run("evals", "--eval-max-cost", "1")
    assert done.code == 0, done
    assert "spent 0.02 USD of 1 USD in this run (20 requests)" in done
    assert answered(server) == 20
    usage = project.result("m", "one")["usage"]
    assert usage["cost"] == pytest.approx(0.02)
    assert (usage["requests"], usage["finish"]) == (20, {"stop": 20})
    data = project.suite / "one.jsonl"
    data.write_text("".join(data.read_text().splitlines(keepends=True)[1:]))
    again = project.run("evals", "--eval-max-cost", "0.001")
    assert again.code == 0, "what is taken over costs nothing"
    assert answered(server) == 20


def test_pairs_that_were_not_begun_are_skipped(priced, server):
    """Several workers share the limit; what they did not ask is left, and the launch is no success."""
    names = [f"d{number}" for number in range(6)]
    server.faults(delay=0.02)
    project = priced(names, concurrency=1)
    stopped = project.run("evals", "-n2", "--eval-max-cost", "0.03")
    assert stopped.code == 1
    asked = answered(server)
    # Of the other worker's spending each hears a quarter of a second later.
    assert 30 <= asked < 60
    assert f"in flight); {120 - asked} of" in stopped
    assert "SKIPPED" in stopped and "not begun: spent" in stopped
    spent, _ = read_costs(project.latest / "costs", "")
    assert (spent.requests, spent.of("USD")) == (asked, pytest.approx(asked / 1000))
    assert project.run("evals", "-n2").code == 0
    assert answered(server) == 120


def test_two_currencies_are_a_usage_error(priced, server):
    """What they add up to nobody knows; nothing is asked."""
    models = [{"name": "a"}, {"name": "b", "price": {"input": 1, "currency": "EUR"}}]
    ran = priced(models=models).run()
    assert ran.code == 4
    assert "accepted: one currency a launch" in ran
    assert answered(server) == 0


def test_answers_that_were_cut_off_are_told(priced, server):
    """In the result, in the pair's log, and at the end."""
    server.faults(length="every:2")
    project = priced(samples=4, price={})
    ran = project.run()
    assert "echo/m/one: 2 of 4 answers ended at the most tokens that may be answered" in ran
    assert project.result("m", "one")["usage"]["finish"] == {"length": 2, "stop": 2}
    log = project.latest / "logs" / "eval" / "echo" / "m" / "one.log"
    assert "warning: 2 of 4 answers ended at the most tokens" in log.read_text()
