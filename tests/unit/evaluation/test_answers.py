"""Answers: what is taken out of a raw prediction, what never is, and what scoring makes of those without one."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.datasets.values import last_number
from pytest_evalrun.errors import PairError, TimedOut
from pytest_evalrun.evaluation.answers import NoAnswer, extractor, letter_in
from pytest_evalrun.evaluation.deadline import Deadline
from pytest_evalrun.evaluation.score import Scorer
from pytest_evalrun.metrics.intervals import wilson
from pytest_evalrun.rundir.predictions import Line, PredictionsFile

FOUR = Sample(0, "q1", {"question": "?", "choices": ["Paris", "Lyon", "Nice", "Metz"]}, "B")

LETTERS = {
    "the line that was asked for": ("Lyon lies south.\nANSWER: B", "B"),
    "in Markdown": ("**Answer:** (b).", "B"),
    "with the option's text": ("Final answer: B) Lyon", "B"),
    "in LaTeX": ("Answer: $\\boxed{\\text{B}}$", "B"),
    "last line of several": ("ANSWER: A\nNo, wait.\nANSWER: C", "C"),
    "the line before a looser form": ("ANSWER: A\nSo the answer is not clear, **B**", "A"),
    "two letters": ("ANSWER: A, B", None),
    "either letter": ("The answer is A or B.", None),
    "a sentence": ("The answer is (B).", "B"),
    "a sentence without brackets": ("So the correct option is C because of the sea", "C"),
    "small in brackets": ("the answer is: (d)", "D"),
    "last sentence of several": ("The answer is A. Sorry: the answer is D.", "D"),
    "an option that is correct": ("Option B is correct.", "B"),
    "bold in a sentence": ("The best answer is **C**: it lies at the sea", "C"),
    "boxed": ("thus \\boxed{C}", "C"),
    "bold": ("I would say **B**", "B"),
    "bare": ("B", "B"),
    "bare in brackets": ("(C).", "C"),
    "bare A": ("A", "A"),
    "bare on the last line": ("Lyon is not the capital.\n\nA", "A"),
    "an option as it was given": ("B) Lyon", "B"),
    "an option with a full stop": ("B. Lyon", "B"),
    "all options repeated": ("A. Paris\nB. Lyon", None),
    "article at the beginning": ("A good question", None),
    "article in running text": ("A man walks into a bar. It is A thing.", None),
    "article behind the line's word": ("ANSWER: A good question", None),
    "article behind the sentence": ("The answer is A good question", None),
    "small article": ("the answer is a matter of taste", None),
    "pronoun": ("The answer is I think unclear", None),
    "negation": ("The answer is not B", None),
    "letter in a sentence": ("I believe that A is not it", None),
    "heading": ("**A. First things**\nwell", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("text", "letter"), LETTERS.values(), ids=LETTERS)
def test_letters(text, letter):
    """A letter must be announced, marked or alone on its line; stricter forms count before looser ones."""
    assert letter_in(text) == letter


WAYS = {
    "letter": ({"letter": "ABCD"}, "ANSWER: b", "B"),
    "letter beyond the options": (
        {"letter": "ABCD"},
        "ANSWER: A\nANSWER: E",
        NoAnswer("the letter E is none of the options A, B, C, D"),
    ),
    "letters that are not the first": ({"letter": "YN"}, "ANSWER: N", "N"),
    "regex with a group": ({"regex": r"#### (\d+)"}, "#### 1\n#### 42", "42"),
    "regex without a group": ({"regex": r"\d+"}, "1 and 42", "42"),
    "regex without a match": ({"regex": r"\d+"}, "none", NoAnswer(r"no match of \d+")),
    "regex that matches nothing at the end": ({"regex": r"\d*"}, "42 it is", "42"),
    "after": ({"after": "ANSWER:"}, "ANSWER: no\nANSWER: cat \nand dog", "cat"),
    "after, blanks kept": ({"after": "ANSWER:", "strip": False}, "ANSWER: cat ", " cat "),
    "after nothing": ({"after": "ANSWER:"}, "cat", NoAnswer("no 'ANSWER:'")),
    "nothing after": ({"after": "ANSWER:"}, "ANSWER:\ncat", NoAnswer("nothing follows 'ANSWER:' on its line")),
    "last number": ({"last_number": True}, "of 7 it makes 1,234.5.", 1234.5),
    "negative number": ({"last_number": True}, "x = -3", -3),
    "minus of its own": ({"last_number": True}, "x = \u22123", -3),
    "difference": ({"last_number": True}, "pages 5-3", 3),
    "numbers with a comma between": ({"last_number": True}, "10,20", 20),
    "below one": ({"last_number": True}, "x = -.5", -0.5),
    "currency and sign": ({"last_number": True}, "it fell by $-1,000.", -1000),
    "percentage": ({"last_number": True}, "it is 40%", 40),
    "currency": ({"last_number": True}, "costs $1,000", 1000),
    "number of a word": ({"last_number": True}, "H2O and v2", NoAnswer("no number")),
    "first line": ({"first_line": True}, "\n  cat\ndog", "cat"),
    "no line": ({"first_line": True}, " \n", NoAnswer("the model said nothing")),
    "json": ({"json": True}, 'so {"a": 1} or ```json\n{"a": 2}\n```', {"a": 2}),
    "path": ({"json": "a[0].b"}, '{"a": [{"b": "cat"}]}', "cat"),
    "path, not the footnote behind": ({"json": "a"}, '{"a": 7} as in [1]', 7),
    "path to nowhere": ({"json": "b"}, '{"a": 7}', NoAnswer("no b in the JSON")),
    "path to null": ({"json": "a"}, '{"a": null}', NoAnswer("the value is null")),
    "no json": ({"json": True}, "{a: 1}", NoAnswer("no object or list of JSON")),
    "NaN": ({"json": True}, '{"a": NaN}', NoAnswer("no object or list of JSON")),
    "schema": ({"json": {"path": "a", "schema": {"required": ["a"]}}}, '{"a": 1}', 1),
    "schema that is broken": (
        {"json": {"path": "a", "schema": {"properties": {"a": {"type": "string"}}}}},
        '{"a": 1}',
        NoAnswer("the JSON does not fit the schema: $.a: 1 is not of type 'string'"),
    ),
    "after thinking": ({"after": "=", "after_think": True}, "<think>= 1</think>= 2", "2"),
    "only thought": ({"after": "=", "after_think": True}, "<think>= 1</think>", NoAnswer("no '='")),
    "still thinking": (
        {"after": "=", "after_think": True},
        "<think>= 1",
        NoAnswer("the model has not ended thinking: no </think>"),
    ),
    "never thought": ({"after": "=", "after_think": True}, "= 1", "1"),
    "a number": ({"last_number": True}, 7.0, 7),
    "no text": ({"last_number": True}, [7], NoAnswer("the model answered list, which is no text")),
}


@pytest.mark.parametrize(("way", "prediction", "answer"), WAYS.values(), ids=WAYS)
def test_ways(way, prediction, answer):
    """Each way finds its last match, or says why there is none."""
    assert extractor(way)(prediction, FOUR) == answer


OPTIONS = {
    "list": (["x", "y"], "ANSWER: B", "B"),
    "beyond the list": (["x", "y"], "ANSWER: C", NoAnswer("the letter C is none of the options A, B")),
    "list in a cell of CSV": ('["x", "y"]', "ANSWER: B", "B"),
    "mapping with texts": ({"text": ["x", "y"], "label": ["A", "B"]}, "ANSWER: B", "B"),
}


@pytest.mark.parametrize(("column", "text", "answer"), OPTIONS.values(), ids=OPTIONS)
def test_letters_of_the_samples_options(column, text, answer):
    """With options from a column each sample accepts as many letters as it has options."""
    sample = Sample(0, "q1", {"choices": column}, None)
    assert extractor({"letter": True}, "choices")(text, sample) == answer


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({"x": 1}, "sample q1: choices: no column 'choices'; columns: x", id="missing"),
        pytest.param("x", "sample q1: choices: no column 'choices'; columns: input", id="bare"),
        pytest.param({"choices": "x"}, "sample q1: .*'choices' holds 'x'; accepted: a list of texts", id="text"),
        pytest.param({"choices": []}, "'choices' holds .*; accepted: a list of texts", id="empty"),
        pytest.param({"choices": ["x"] * 27}, "holds 27 options; accepted: at most 26", id="too-many"),
    ],
)
def test_options_that_are_none(values, told):
    """A column that is missing or no list names the sample, the column and what is there."""
    with pytest.raises(PairError, match=told):
        extractor({"letter": True}, "choices")("ANSWER: A", Sample(0, "q1", values, None))


EVERY = [
    {"letter": "ABCD"},
    {"letter": True},
    {"regex": r"(\w+)\s*$"},
    {"after": ":"},
    {"json": True},
    {"json": "a[0]"},
    {"last_number": True},
    {"first_line": True},
]


@pytest.mark.parametrize("way", EVERY, ids=lambda way: "-".join(f"{k}={v}" for k, v in way.items()))
@given(
    text=st.text() | st.text('[]{}",:0a \n*()ABCanswer.-$\\', max_size=300),
    think=st.booleans(),
    strip=st.booleans(),
)
def test_no_text_breaks_an_extraction(way, text, think, strip):
    """Whatever a model says, there is an answer that JSON holds, or a reason."""
    answer = extractor(way | {"after_think": think, "strip": strip}, "choices" if way.get("letter") else None)(
        text, FOUR
    )
    if type(answer) is not NoAnswer:
        json.dumps(answer, allow_nan=False)
        assert answer not in ("", None)


LAST = {
    "letter": ({"letter": "ABCD"}, "\nANSWER: C", "C"),
    "regex": ({"regex": r"<(\w)>"}, "<C>", "C"),
    "after": ({"after": "=>"}, "\n=>C", "C"),
    "json": ({"json": "k"}, '\n{"k": "C"}', "C"),
    "last_number": ({"last_number": True}, " 42", 42),
}


@pytest.mark.parametrize(("way", "end", "answer"), LAST.values(), ids=LAST)
@given(text=st.text("ABCDanswer: \n<>=*()0123456789", max_size=100))
def test_the_last_match_wins(way, end, answer, text):
    """Whatever was said before, what is said last is the answer."""
    assert extractor(way)(text + end, FOUR) == answer


def test_brackets_without_end_take_no_time():
    """A million brackets that begin no JSON are given up, not tried one by one."""
    started = time.process_time()
    assert extractor({"json": True})("[1," * 300_000, FOUR) == NoAnswer("no object or list of JSON")
    assert extractor({"json": True})("[" * 300_000, FOUR) == NoAnswer("no object or list of JSON")
    assert time.process_time() - started < 20  # quadratic would be hours


LONG = {
    "stars": "*" * 20_000,
    "brackets": "ANSWER: " + "(" * 20_000 + "the answer is " + "(" * 20_000,
    "blanks": "the answer is" + " " * 20_000,
    "words": "answer is A or " * 5_000,
    "bold": "**A) " * 5_000,
    "digits": "1," * 20_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_long_texts_take_no_time(text):
    """No form of ours tries a part of the text again for each of its letters."""
    started = time.process_time()
    letter_in(text)
    last_number(text)
    assert time.process_time() - started < 2  # quadratic would be many


def test_a_pattern_without_end_ends_with_the_item(tmp_path):
    """Python's matcher hears the alarm of the item's limit."""
    deadline = Deadline(0.2, lambda: 2, pytest.fail)
    with pytest.raises(TimedOut), deadline.phase():
        extractor({"regex": r"(a+)+$"})("a" * 60 + "b", FOUR)


# Scoring.


@pytest.fixture
def scored(shop, context):
    """``scored({id: (prediction, reference)}, **settings)``: metrics as (value, n), and the lines of scores."""

    def run(said, inputs=None, **settings):
        samples = [Sample(i, name, inputs, reference) for i, (name, (_, reference)) in enumerate(said.items())]
        lines = [Line(s.index, s.id, "ok", said[s.id][0], s.reference, None, 0.1) for s in samples]
        pair = shop.pair(**settings)
        paths = context.paths.pair(pair.key)
        progress = PredictionsFile(paths.predictions).open(context.disk, len(samples))
        progress.append(lines)
        progress.close()
        scores = Scorer(pair, context.disk, paths, len(samples)).run(samples, progress)
        values = {name: (metric["value"], metric["n"]) for name, metric in scores.metrics.items()}
        run.metrics = scores.metrics
        return values, [json.loads(line) for line in paths.scores.read_text().splitlines()]

    return run


SAID = {"s0": ("ANSWER: cat", "cat"), "s1": ("ANSWER: dog", "cat"), "s2": ("cat", "cat"), "s3": ("ANSWER: cat", "cat")}


def test_metrics_see_answers(scored):
    """The answer is scored, not the raw text; without one a sample is wrong, is counted, and says why."""
    values, lines = scored(SAID, answer={"after": "ANSWER:"})
    assert values == {"exact_match": (0.5, 4), "unanswered": (0.25, 4)}
    assert scored.metrics["unanswered"]["better"] == "lower"
    assert scored.metrics["unanswered"]["low"] < 0.25 < scored.metrics["unanswered"]["high"]
    assert lines[1] == {"index": 1, "id": "s1", "exact_match": 0.0, "unanswered": 0.0, "answer": "dog"}
    assert lines[2] == {"index": 2, "id": "s2", "exact_match": 0.0, "unanswered": 1.0, "no_answer": "no 'ANSWER:'"}


def test_blanks_around_raw_text_are_nobodys_mistake(shop, evaluator, context):
    """Where answers are taken out, only blanks around labels are worth a warning."""
    pair = shop.pair(answer={"after": "="})
    sample, line = Sample(0, "s0", None, "cat"), Line(0, "s0", "ok", " = cat\n", "cat", None, 0.1)
    paths = context.paths.pair(pair.key)
    assert Scorer(pair, context.disk, paths, 1).run([sample], Asked([line])).warning is None


def test_several_answers_of_one_generation(scored):
    """Each metric has a row a name, and each line the answers by name."""
    ways = {"strict": {"after": "ANSWER:"}, "flexible": {"regex": "cat|dog"}}
    values, lines = scored(SAID, answer=ways)
    assert values == {
        "exact_match@strict": (0.5, 4),
        "exact_match@flexible": (0.75, 4),
        "unanswered@strict": (0.25, 4),
        "unanswered@flexible": (0.0, 4),
    }
    assert lines[0]["answer"] == {"strict": "cat", "flexible": "cat"}
    assert (lines[2]["answer"], lines[2]["no_answer"]) == ({"flexible": "cat"}, {"strict": "no 'ANSWER:'"})


def test_a_value_that_is_missing_is_left_out(scored):
    """A distance needs a number: without one the metric is over fewer samples, which the share beside it says."""
    said = {"s0": ("it is 3", 4), "s1": ("no idea", 4), "s2": ("4", 4)}
    values, lines = scored(said, answer={"last_number": True}, metrics=["mae", "./m.py:off_by"])
    assert values == {"mae": (0.5, 2), "off_by": (0.5, 2), "unanswered": (pytest.approx(1 / 3), 3)}
    assert [line["mae"] for line in lines] == [1.0, None, 0.0]


def test_classes_without_an_answer(scored):
    """A sample without an answer is missed by its class, and no class of its own lowers the mean."""
    said = {"s0": ("= a", "a"), "s1": ("= b", "b"), "s2": ("?", "b")}
    values, _ = scored(said, answer={"after": "="}, metrics=["macro_f1", "top1", "confusion"])
    assert values["macro_f1"] == (pytest.approx((1 + 2 / 3) / 2), 3)
    assert values["top1"] == values["confusion"] == (pytest.approx(2 / 3), 3)
    assert scored.metrics["confusion"]["table"] == {
        "labels": ["(no answer)", "a", "b"],
        "rows": [[0, 0, 0], [0, 1, 0], [1, 0, 1]],
    }


def test_nothing_answered_is_no_success(scored):
    """Where no sample has an answer a share is 0, and a distance an error that says why there is none."""
    said = {"s0": ("?", 4), "s1": ("?", 4)}
    assert scored(said, answer={"last_number": True})[0] == {"exact_match": (0.0, 2), "unanswered": (1.0, 2)}
    with pytest.raises(PairError, match="metric mae: none of 2 predictions has an answer; the first: no number"):
        scored(said, answer={"last_number": True}, metrics=["mae"])


def test_another_extraction_asks_nothing(shop, evaluator):
    """The same predictions are scored again, and the reason says what changed."""
    shop.data()
    evaluator(shop.pair(answer={"last_number": True}))
    assert len(shop.asked()) == 6
    again = evaluator(shop.pair(answer={"regex": r"(\d)"}))
    assert (again.reason, shop.asked()) == ("scored again: answer changed (last_number, regex)", [])
    assert again.metrics == {"exact_match": 1.0, "unanswered": 0.0}
    assert evaluator(shop.pair(answer={"regex": r"(\d)"})).reused
    assert evaluator(shop.pair()).reason == "scored again: answer changed (regex)"


class Asked:
    """Lines of several generations, in their order."""

    def __init__(self, lines):
        self.ordered = lambda: iter(lines)


def test_generations_are_repeats_of_their_sample(shop, context):
    """Each answer is scored and counted, intervals know whose they are, and what a sample makes of them stands once."""
    said = {"s0": ["cat", "cat", "dog"], "s1": ["dog", "cat", None], "s2": ["dog", "dog", "cat"]}
    samples, lines = [], []
    for index, (name, texts) in enumerate(said.items()):
        for generation, text in enumerate(texts):
            samples.append(Sample(index, name, None, "cat", generation))
            status, error = ("ok", None) if text else ("failed", "late")
            lines.append(Line(index, name, status, text and f"= {text}", "cat", error, 0.1))
    pair = shop.pair(
        generations=3, answer={"after": "="}, metrics=["exact_match", "majority", {"pass_at": {"k": [1, 3]}}]
    )
    paths = context.paths.pair(pair.key)
    scores = Scorer(pair, context.disk, paths, len(lines)).run(samples, Asked(lines))
    values = {name: (metric["value"], metric["n"]) for name, metric in scores.metrics.items()}
    assert values == {
        "exact_match": (0.5, 8),
        "majority": (pytest.approx(1 / 3), 3),
        "pass_at_1": (pytest.approx((2 / 3 + 1 / 2 + 1 / 3) / 3), 3),
        "pass_at_3": (1.0, 2),
        "unanswered": (0.0, 8),
    }
    assert scores.metrics["unanswered"]["high"] == pytest.approx(wilson(0, 3)[1])
    found = [json.loads(line) for line in paths.scores.read_text().splitlines()]
    assert [(line["id"], line["generation"], line["majority"]) for line in found][:4] == [
        ("s0", 0, 1.0),
        ("s0", 1, None),
        ("s0", 2, None),
        ("s1", 0, 0.0),
    ]


def test_generations_from_asking_to_the_result(shop, evaluator):
    """Each sample is asked so often, and what its answers make together is judged by gates as any metric is."""
    shop.data(wrong={1})
    settings = {
        "generations": 3,
        "answer": {"strict": {"last_number": True}, "loose": {"regex": r"\d"}},
        "metrics": ["exact_match", "majority", {"pass_at": {"k": [1, 3]}}],
        "gates": {"pass_at_3@strict": {"min": 0.9}, "unanswered@loose": {"max": 0}},
    }
    done = evaluator(shop.pair(**settings))
    assert len(shop.asked()) == 18
    share = pytest.approx(5 / 6)
    assert {name: value for name, value in done.metrics.items() if name.endswith("@strict")} == {
        "exact_match@strict": share,
        "majority@strict": share,
        "pass_at_1@strict": share,
        "pass_at_3@strict": share,
        "unanswered@strict": 0.0,
    }
    assert [verdict.metric for verdict in done.breached] == ["pass_at_3@strict"]


def test_many_generations_lie_in_one_chunk(shop, context):
    """However many there are, a sample's answers are looked at together."""
    count = 300
    samples = [Sample(index, f"s{index}", None, "cat", g) for index in range(2) for g in range(count)]
    lines = [Line(s.index, s.id, "ok", "cat" if s.generation > 10 else "dog", "cat", None, 0.1) for s in samples]
    pair = shop.pair(generations=count, metrics=["exact_match", "majority", {"pass_hat": {"k": count}}])
    scores = Scorer(pair, context.disk, context.paths.pair(pair.key), len(lines)).run(samples, Asked(lines))
    assert {name: (m["value"], m["n"]) for name, m in scores.metrics.items()} == {
        "exact_match": (pytest.approx((count - 11) / count), 600),
        "majority": (1.0, 2),
        f"pass_hat_{count}": (0.0, 2),
    }
