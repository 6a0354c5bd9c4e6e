"""A pair that is asked over an endpoint: a real server, with faults, and what is kept of what it answers."""

from __future__ import annotations

import threading

import pytest
from llmserver import llm_server
from sshd import free_port

from pytest_evalrun.errors import PairError
from pytest_evalrun.predicting import endpoints, loop, patience
from pytest_evalrun.rundir.predictions import PredictionsFile

COUNT = 8


@pytest.fixture(scope="module")
def running():
    with llm_server("--canned", "blue") as server:
        yield server


@pytest.fixture
def server(running, monkeypatch, tmp_path):
    """The same for all tests of the module, with no faults and nothing counted; its budget is ours alone."""
    monkeypatch.setenv("EVALRUN_ENDPOINTS_DIR", str(tmp_path / "endpoints"))
    running.faults(**dict.fromkeys(running.faults(), None) | {"canned": "blue"})
    running.reset()
    return running


@pytest.fixture
def evaluated(shop, evaluator, server):
    """The lines of a pair of eight prompts once it was evaluated."""

    def evaluated(dataset="clean", **words):
        shop.data(dataset, COUNT)
        where = {"adapter": "openai", "model": "ngram", "base_url": server.url, "concurrency": 4}
        pair = shop.pair(dataset, **where | {"max_failed": COUNT - 1} | words)
        evaluator(pair)
        path = evaluator.contexts[-1].paths.pair(pair.key).predictions
        return list(PredictionsFile(path).lines())

    return evaluated


FORMS = {
    "nothing said": "none",
    "seconds": "seconds:1",
    "milliseconds": "ms:30",
    "a date": "date:1",
    "a reset": "reset:30ms",
    "two resets": "reset:20ms,reset-tokens:40ms",
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_refused_is_asked_again(form, evaluated, server):
    """Each prompt is answered once, with no more requests than refusals and prompts, whatever form the pause has."""
    server.faults(**{"429": "each:1", "retry_after": FORMS[form]})
    lines = evaluated()

    stats = server.stats()
    assert stats["refused"] == {"429": COUNT}
    assert stats["requests"] == 2 * COUNT
    assert set(stats["answered_prompts"].values()) == {1}
    assert [line.detail["attempts"] for line in lines] == [2] * COUNT


def test_a_pause_that_is_told_is_kept(evaluated, server):
    """Nobody comes back before the endpoint wants it."""
    server.faults(**{"429": "each:1", "retry_after": "ms:300"})
    evaluated()

    times = {}
    for request in server.requests():
        times.setdefault(request["digest"], []).append(request["at"])
    assert all(second - first >= 0.3 for first, second in times.values())


def test_what_was_told_makes_no_pause_longer(evaluated, server, monkeypatch):
    """Pauses of our own grow with each failure of which the endpoint said nothing, and with no other."""
    grown = []
    monkeypatch.setattr(endpoints, "backoff", lambda times, *_: grown.append(times) or 0.0)
    server.faults(**{"429": "each:3", "cut": "each:5", "retry_after": "ms:1"})
    evaluated(retries=5)

    assert sorted(grown) == [0] * COUNT + [1] * COUNT


TROUBLE = {"500": "HTTP 500", "cut": "ServerDisconnectedError", "half_json": "no JSON"}


@pytest.mark.parametrize("fault", TROUBLE)
def test_trouble_counts_as_a_try(fault, evaluated, server):
    """A server that fails is asked again as often as the suite has retries; then the sample has failed, alone."""
    server.faults(**{fault: "contains:User: 3"})
    lines = evaluated(retries=1)

    assert server.stats()["requests"] == COUNT - 1 + 2
    (failed,) = [line for line in lines if line.status == "failed"]
    assert failed.id == "s3"
    assert TROUBLE[fault] in failed.error


FINAL = {"context": "maximum context length", "empty": "no choices", "null": "no text", "413": "HTTP 413"}


@pytest.mark.parametrize("fault", FINAL)
def test_what_another_try_would_not_change(fault, evaluated, server):
    """A sample that is refused for good has failed at once, with the endpoint's own words."""
    server.faults(**{fault: "contains:User: 3"})
    lines = evaluated(retries=2)

    assert server.stats()["requests"] == COUNT
    (failed,) = [line for line in lines if line.status == "failed"]
    assert FINAL[fault] in failed.error


def test_what_a_line_tells(evaluated):
    """Tokens, cost, the time to the first token, and what was sent stand beside each answer."""
    first, *_ = evaluated(stream=True, price={"input": 1, "output": 2})

    assert first.prediction == "blue"
    detail = first.detail
    usage = detail["usage"]
    assert detail["cost"] == (usage["input"] + 2 * usage["output"]) / 1_000_000
    assert 0 < detail["ttft"] <= first.seconds
    assert (detail["finish_reason"], detail["attempts"], detail["model"]) == ("stop", 1, "ngram")
    assert len(detail["digest"]) == 64


def test_several_answers(evaluated, server):
    """Each generation is asked for by itself, with a seed of its own."""
    lines = evaluated(generations=3, sampling={"seed": 5})

    assert [line.generation for line in lines] == [0, 1, 2] * COUNT
    assert sorted(request["body"]["seed"] for request in server.requests()) == sorted([5, 6, 7] * COUNT)
    assert len({line.detail["digest"] for line in lines}) == 3 * COUNT


def test_a_text_is_continued(evaluated, server):
    """The other API is asked as well as chats are."""
    evaluated(api="completions")

    assert {request["path"] for request in server.requests()} == {"/v1/completions"}


def test_an_endpoint_that_refuses_everything_is_given_up(evaluated, server, monkeypatch):
    """Where nothing is answered for a minute the pair ends with the endpoint's words, though no refusal counts."""
    monkeypatch.setattr(loop, "HOPELESS_SECONDS", 0.5)
    monkeypatch.setattr(patience, "HOPELESS_SECONDS", 0.5)
    server.faults(**{"429": "all", "retry_after": "ms:20"})
    with pytest.raises(PairError, match="HTTP 429"):
        evaluated()


def test_a_long_pause_is_believed(evaluated, server, monkeypatch):
    """An endpoint that wants to be left alone for longer than that is asked again, and not given up."""
    monkeypatch.setattr(loop, "HOPELESS_SECONDS", 0.2)
    monkeypatch.setattr(patience, "HOPELESS_SECONDS", 0.2)
    server.faults(**{"429": "first:6", "retry_after": "ms:300"})

    assert [line.status for line in evaluated()] == ["ok"] * COUNT


@pytest.mark.parametrize("fault", ["401", "403", "404", "model"])
def test_what_ends_the_pair(fault, evaluated, server):
    """What would be the same for each sample costs no more requests than were under way."""
    server.faults(**{fault: "all"})
    with pytest.raises(PairError):
        evaluated()

    assert server.stats()["requests"] <= 4


def test_another_model_behind_the_same_name_is_asked_anew(evaluated, shop, server):
    """Where the model's file has changed, no answer of the old one is taken over, though the same would be sent."""
    evaluated()
    (shop.root / "weights.bin").write_bytes(b"other weights")
    evaluated()

    assert server.stats()["requests"] == 2 * COUNT


def test_what_would_be_sent_again_is_not(evaluated, shop, server):
    """Where a row has changed, that row is asked, and nothing else."""
    evaluated()
    path = shop.data("clean", COUNT)
    path.write_text(path.read_text().replace('"x": 3', '"x": 33'))
    shop.data = lambda *_: path
    evaluated()

    assert server.stats()["requests"] == COUNT + 1


def test_nobody_there_ends_the_pair_at_once(evaluated, server):
    """An address that is wrong costs a few tries, not those of all samples."""
    with pytest.raises(PairError, match=r"Cannot connect to host .*; is it running\? accepted: a `base_url`"):
        evaluated(base_url=f"http://127.0.0.1:{free_port()}/v1", retries=10_000)


def test_a_server_that_is_started_anew_is_waited_for(evaluated, server):
    """While nobody is there no sample loses a try, however long that takes within a minute."""
    port = str(free_port())
    with llm_server("--port", port, "--canned", "blue", exit="nth:4") as first:
        done = threading.Event()

        def start_again():
            first.process.wait()
            with llm_server("--port", port, "--canned", "blue"):
                done.wait(60)

        again = threading.Thread(target=start_again)
        again.start()
        try:
            lines = evaluated(base_url=first.url, retries=1, concurrency=2)
        finally:
            done.set()
            again.join()
    assert [line.status for line in lines] == ["ok"] * COUNT
