"""Batches: whatever fails, every sample gets one line, and what is done is never asked again."""

from __future__ import annotations

import itertools
import math
import re
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.children.faults import ModelError, may_pass
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.evaluation.logs import ItemLog
from pytest_evalrun.predicting import loop, session
from pytest_evalrun.predicting.loop import HOPELESS, run_loop
from pytest_evalrun.predicting.session import CallSession
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.rundir.predictions import Line, PredictionsFile
from pytest_evalrun.rundir.state import parse

numbers = itertools.count()


class Clock:
    """The time of the loop, in which nothing takes any but its pauses."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(loop, "time", self)

    def monotonic(self):
        return self.now

    time = monotonic

    def sleep(self, seconds):
        self.now += seconds


class Model:
    """Answers with the input; raises where a batch holds a ``bad`` sample, or as often as there are ``errors``."""

    def __init__(self, bad=(), errors=(), answer=None, clock=None):
        self.bad, self.errors, self.answer = bad, list(errors), answer
        self.calls, self.at, self.clock = [], [], clock

    def predict(self, batch):
        self.at.append(self.clock.now if self.clock else 0.0)
        self.calls.append([sample.index for sample in batch])
        if self.errors:
            raise self.errors.pop(0)
        if any(sample.index in self.bad for sample in batch):
            raise ValueError("bad one")
        return [sample.input for sample in batch] if self.answer is None else self.answer(batch)


@pytest.fixture
def asked(shop, context):
    """``asked(model, count, done=…, **settings)``: the pair after the model was asked for what is missing."""

    def ask(model, count, done=(), context=context, **settings):
        pair = shop.pair(f"d{next(numbers)}", **settings)
        paths = context.paths.pair(pair.key)
        progress = PredictionsFile(paths.predictions).open(context.disk, count)
        progress.append([Line(i, f"s{i}", "ok", "before", i, None, 0.1) for i in done])
        reader = (Sample(i, f"s{i}", i, i) for i in range(count))
        error = None
        try:
            work = PairWork(pair, paths, progress, context, range(count))
            run_loop(work, CallSession(model.predict), reader)
        except PairError as caught:
            error = caught
        finally:
            progress.close()
        lines = list(progress.ordered())
        state = parse(paths.state.read_text()) if paths.state.exists() else None
        return SimpleNamespace(lines=lines, error=error, state=state, pair=pair, failed=failed(lines))

    return ask


@pytest.mark.parametrize("where", [None, "Traceback: model.py, line 7"], ids=["a program", "with its traceback"])
def test_the_log_shows_where_a_model_of_another_process_failed(asked, context, tmp_path, where):
    """By the model's own traceback alone, where it sent one: where our code read the answer helps nobody."""
    context.log = ItemLog(None)
    context.log.open(tmp_path / "a.log")
    asked(Model(errors=[ModelError("ValueError: no", where)]), 1)
    context.log.close()
    said = (tmp_path / "a.log").read_text()
    assert "batch of 1 from sample s0 failed: ValueError: no\n" in said
    assert re.findall("Traceback.*|File.*", said) == ([where] if where else [])


def test_a_sample_waits_for_its_whole_batch(asked, monkeypatch):
    """Its seconds are those of the request that answered it, however many were asked at once; retries are others."""
    clock = itertools.count()
    monkeypatch.setattr(session, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(loop, "BACKOFF_SECONDS", 0)
    found = asked(Model(errors=[TimeoutError("once")]), 8, max_batch_size=4, retries=1)
    assert [line.seconds for line in found.lines] == [1.0] * 8


DETAILS = {
    "nothing told": ({}, None, 1.0),
    "seconds": ({"seconds": 0.25, "usage": {"tokens": 7}}, None, 0.25),
    "no time at all": ({"seconds": 0}, None, 0.0),
    "less than none": ({"seconds": -1}, "the model told seconds: -1; accepted: a number from 0", 1.0),
    "no number": ({"seconds": "fast"}, "the model told seconds: 'fast'", 1.0),
    "nan": ({"seconds": math.nan}, "the model answered nan", 1.0),
    "no JSON": ({"usage": {1, 2}}, "the model answered set", 1.0),
}


@pytest.mark.parametrize(("detail", "error", "seconds"), DETAILS.values(), ids=DETAILS)
def test_what_a_model_tells_beside_its_answer(asked, monkeypatch, detail, error, seconds):
    """It is kept with the prediction, and its own seconds are believed; what cannot be kept fails its sample alone."""
    clock = itertools.count()
    monkeypatch.setattr(session, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    model = Model(answer=lambda batch: [Detailed("yes", detail), "no"])
    first, second = asked(model, 2, max_batch_size=2).lines
    assert (second.prediction, second.seconds, second.detail) == ("no", 1.0, None)
    assert first.seconds == seconds
    if error:
        assert first.status == "failed"
        assert error in first.error
    else:
        assert (first.prediction, first.detail) == ("yes", detail)


@pytest.mark.parametrize("retries", [0, 2])
def test_leaving_the_debugger_ends_the_session(asked, context, retries):
    """It is no failure of a sample, and no other batch is asked; only whoever drives the session knows its error."""
    context.ends_session = (pytest.exit.Exception,)
    model = Model(errors=[pytest.exit.Exception("Quitting debugger")])
    with pytest.raises(KeyboardInterrupt, match="Quitting debugger"):
        asked(model, 6, max_batch_size=2, retries=retries)
    assert model.calls == [[0, 1]]


def failed(lines):
    return {line.index: line.error for line in lines if line.status == "failed"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 40), size=st.integers(1, 9), data=st.data())
def test_one_bad_sample_costs_itself_only(asked, count, size, data):
    """Failed are exactly those that fail alone; nothing is asked that was done; the calls are bounded."""
    samples = st.sets(st.integers(0, count - 1))
    done, bad = data.draw(samples, "done"), data.draw(samples, "bad")
    model = Model(bad)
    result = asked(model, count, sorted(done), max_batch_size=size)

    missing = [i for i in range(count) if i not in done]
    batches = [missing[start : start + size] for start in range(0, len(missing), size)]
    ends = after_hopeless(batches, bad)
    assert (result.error is not None) == (ends < len(batches))
    sought = [i for batch in batches[:ends] for i in batch]
    assert [line.index for line in result.lines] == sorted({*done, *sought})
    assert result.failed.keys() == {i for i in sought if i in bad}
    assert {line.prediction for line in result.lines if line.index in done} <= {"before"}
    assert {i for call in model.calls for i in call} == set(sought)
    assert len(model.calls) <= sum(most_calls(batch, bad) for batch in batches[:ends])


def most_calls(batch, bad):
    """Halving finds each bad sample in as many steps as the batch can be halved, two calls a step."""
    found = sum(i in bad for i in batch)
    return min(2 * len(batch) - 1, 1 + 2 * found * math.ceil(math.log2(max(2, len(batch)))))


def after_hopeless(batches, bad):
    """How many batches are asked."""
    row = 0
    for number, batch in enumerate(batches, 1):
        row = row + 1 if all(i in bad for i in batch) else 0
        if row == HOPELESS and number < len(batches):
            return number
    return len(batches)


def test_a_model_that_only_fails_is_given_up(asked):
    """Three whole batches failed in a row end the pair; the message tells the last reason; the lines are kept."""
    result = asked(Model(bad=range(100)), 100, max_batch_size=2)
    assert str(result.error) == "3 whole batches failed in a row; the last one: ValueError: bad one"
    assert len(result.lines) == 6
    assert result.state.failed_batches == HOPELESS


def test_the_state_of_a_pair_that_ends_early_keeps_its_counters(asked, monkeypatch, context):
    """What was tried again before the error that ended it stands there, too."""
    monkeypatch.setattr(loop, "BACKOFF_SECONDS", 0)
    result = asked(Model(errors=[TimeoutError("once"), PairError("no more")]), 4, max_batch_size=2, retries=2)
    assert str(result.error) == "no more"
    context.disk.close()
    path = context.paths.pair(result.pair.key).state
    assert parse(path.read_text()).retry_count == 1


def test_a_good_batch_gives_new_hope(asked):
    """The three must be in a row."""
    result = asked(Model(bad={0, 1, 2, 3, 6, 7, 8, 9}), 12, max_batch_size=2)
    assert result.error is None
    assert len(result.failed) == 8


def test_no_batch_left_is_nothing_to_give_up(asked):
    """Where the third failed batch is the last one, what failed is counted instead."""
    result = asked(Model(bad=range(6)), 6, max_batch_size=2)
    assert result.error is None
    assert len(result.failed) == 6


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        pytest.param(ConnectionResetError("peer"), True, id="connection"),
        pytest.param(TimeoutError("slow"), True, id="time-out"),
        pytest.param(OSError(5, "Input/output error"), True, id="I/O"),
        pytest.param(MemoryError(), True, id="memory"),
        pytest.param(EOFError(), True, id="end of stream"),
        pytest.param(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True, id="memory of a GPU"),
        pytest.param(RuntimeError("Failed to allocate memory for requested buffer"), True, id="memory of a runtime"),
        pytest.param(FileNotFoundError(2, "gone"), False, id="no such file"),
        pytest.param(PermissionError(13, "no"), False, id="no permission"),
        pytest.param(ValueError("shape"), False, id="a fault of the model"),
        pytest.param(SampleError("unreadable"), False, id="a fault of the sample"),
    ],
)
def test_only_bad_luck_is_tried_again(asked, monkeypatch, error, passes):
    """I/O, time-outs, connections and memory may pass; anything else would only fail again."""
    monkeypatch.setattr(loop, "BACKOFF_SECONDS", 0)
    assert may_pass(error) == passes
    model = Model(errors=[error])
    result = asked(model, 4, max_batch_size=4, retries=2)
    assert model.calls == [[0, 1, 2, 3]] * 2 if passes else [[0, 1, 2, 3], [0, 1], [2, 3]]
    assert not result.failed
    assert result.state.retry_count == passes


def test_pauses_grow_and_retries_are_told(asked, context, evaluator, monkeypatch):
    """Each retry is an event, with a pause twice as long up to a limit; after the last the batch is split."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(loop, "LONGEST_BACKOFF_SECONDS", 1.5)
    model = Model(errors=[OSError(5, "I/O")] * 5, clock=clock)
    result = asked(model, 2, max_batch_size=2, retries=3)
    assert model.at == pytest.approx([0, 0.5, 1.5, 3.0, 3.0, 3.0])
    assert model.calls == [[0, 1]] * 4 + [[0], [1]]
    assert result.failed == {0: "OSError: [Errno 5] I/O"}
    told = [event for event in evaluator.events() if event["event"] == "batch_retried"]
    assert [(event["batch"], event["attempt"]) for event in told] == [(1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(lambda batch: [1], "predict answered 1 predictions to a batch of 3 samples", id="too few"),
        pytest.param(lambda batch: [1] * 4, "predict answered 4 predictions to a batch of 3 samples", id="too many"),
        pytest.param(lambda batch: 7, "predict answered int to a batch of 3; it must answer a list", id="no list"),
        pytest.param(lambda batch: iter(batch), "predict answered list_iterator to a batch of 3", id="iterator"),
    ],
)
def test_answers_must_be_one_a_sample(asked, answer, message):
    """A model that answers too few or too many cannot be trusted to keep their order: the pair ends at once."""
    model = Model(answer=answer)
    result = asked(model, 3, max_batch_size=3)
    assert message in str(result.error)
    assert (len(model.calls), result.lines) == (1, [])


@pytest.mark.parametrize("bad", [(), {0}], ids=["whole batch", "while splitting"])
def test_a_model_may_end_its_pair(asked, bad):
    """PairError from the model is neither tried again nor split; what was kept before stays."""

    def answer(batch):
        if batch[0].index == 2:
            raise PairError("licence expired")
        return [0] * len(batch)

    result = asked(Model(bad, answer=answer), 4, max_batch_size=4 if bad else 2)
    assert str(result.error) == "licence expired"
    assert [line.index for line in result.lines] == [0, 1]


def test_an_answer_that_cannot_be_kept_costs_its_sample(asked):
    """NaN and objects fail their sample with the reason, without asking again."""
    model = Model(answer=lambda batch: [1, float("nan"), object()])
    result = asked(model, 3, max_batch_size=3)
    assert len(model.calls) == 1
    assert result.failed[1] == "sample s1: the model answered nan"
    assert "the model answered object, which cannot be kept" in result.failed[2]


def test_models_never_see_the_answers(asked):
    """Samples come without their references; the lines have them."""
    result = asked(Model(answer=lambda batch: [str(sample.reference) for sample in batch]), 2)
    assert [(line.prediction, line.reference) for line in result.lines] == [("None", 0), ("None", 1)]


def test_reasons_show_no_secret(asked, evaluator):
    """What an error says of a secret is blanked before it is kept."""
    context = evaluator.context(secrets=("hunter22222222",))
    result = asked(Model(errors=[ValueError("login with hunter22222222 refused")]), 1, context=context)
    assert result.failed == {0: "ValueError: login with *** refused"}


def test_the_state_file_tells_how_far(asked):
    """Lines 2 to 8 count this session's batches, failed batches and retries; a resumed pair starts where it was."""
    state = asked(Model(bad={6}), 10, done=[0, 1, 2], max_batch_size=3).state
    assert (state.current_batch, state.total_batches, state.failed_batches, state.retry_count) == (3, 3, 1, 0)
    assert (state.batch_completed, state.batch_total, state.max_batch_size, state.total_data) == (1, 1, 3, 10)


def test_a_worker_without_its_launcher_ends(shop, evaluator):
    """The batch at hand is kept, then the process ends as by Ctrl-C: the next session need not wait for it."""
    context = evaluator.context(launcher=-1)
    pair = shop.pair()
    paths = context.paths.pair(pair.key)
    progress = PredictionsFile(paths.predictions).open(context.disk, 9)
    with pytest.raises(KeyboardInterrupt, match="gone"):
        work = PairWork(pair, paths, progress, context, range(9))
        run_loop(work, CallSession(Model().predict), (Sample(i, str(i), i) for i in range(9)))
    progress.close()
    assert progress.done_count == 2


def test_a_secret_that_a_model_answers_is_blanked(asked, evaluator):
    """Before it is kept, at any depth, and its line says so; a short one changes no answer."""
    context = evaluator.context(secrets=("hunter22222222", "root"))
    answers = ["my key: hunter22222222", {"k": ["hunter22222222"]}, "/root PASS=root", 3]
    result = asked(Model(answer=lambda batch: [answers[sample.index] for sample in batch]), 4, context=context)
    assert [line.prediction for line in result.lines] == ["my key: ***", {"k": ["***"]}, "/root PASS=root", 3]
    assert [line.blanked for line in result.lines] == [True, True, False, False]
