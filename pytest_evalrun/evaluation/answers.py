"""Answers taken out of raw predictions, when these are scored: the last match wins, and none is never a guess."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import last_number, written
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.suite.answering import options_column
from pytest_evalrun.suite.jsontext import json_path, value_at, values_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.suite.settings import Settings

    Options = Callable[[Sample], list[str]]
    Extractor = Callable[[Any, Sample], Any]
    Finder = Callable[[str, Sample], Any]


_THOUGHT = "</think>"


@dataclass(frozen=True)
class NoAnswer:
    """Why there is no answer in what a model said."""

    why: str


def extractor(way: Mapping[str, Any], column: str | None = None) -> Extractor:
    """What takes an answer out of the prediction of a sample, in one way: a value that JSON knows, or NoAnswer.

    ``column`` holds the options of a sample. Raises PairError where a sample lacks it, or a library is missing.
    """
    find = _finder(way, column)
    after_think, strip = way.get("after_think", False), way.get("strip", True)

    def extract(prediction: Any, sample: Sample) -> Any:
        text = prediction if type(prediction) is str else _text(prediction)
        if type(text) is not str:
            return text
        if after_think:
            text = _after_thinking(text)
            if type(text) is not str:
                return text
        answer = find(text, sample)
        if type(answer) is not str:
            return answer
        answer = answer.strip() if strip else answer
        return answer or NoAnswer("the answer is empty")

    return extract


def extractor_of(settings: Settings, way: Mapping[str, Any]) -> Extractor:
    """Make the extractor of one of a pair's ways; the column of options may be said by its prompt."""
    return extractor(way, options_column(settings, way))


def _text(prediction: Any) -> str | NoAnswer:
    if type(prediction) in (int, float, bool):
        return written(prediction)
    return NoAnswer(f"the model answered {type(prediction).__name__}, which is no text")


def _after_thinking(text: str) -> str | NoAnswer:
    _, closed, after = text.rpartition(_THOUGHT)
    if not closed and "<think>" in text:
        return NoAnswer(f"the model has not ended thinking: no {_THOUGHT}")
    return after  # all of it where it never thought


def _finder(way: Mapping[str, Any], column: str | None) -> Finder:
    if "letter" in way:
        return _letter(way["letter"], column)
    if "regex" in way:
        return _regex(way["regex"])
    if "after" in way:
        return _after(way["after"])
    if "json" in way:
        return _json(way["json"])
    return _last_number if "last_number" in way else _first_line


def _letter(letters: str | bool, column: str | None) -> Finder:
    """A letter beyond those of the options is no answer, not the nearest one that would be."""
    from pytest_evalrun.evaluation.answers import letter_in

    fixed = letters if isinstance(letters, str) else ""
    options = None if column is None else options_in(column)

    def find(text: str, sample: Sample) -> str | NoAnswer:
        letter = letter_in(text)
        if letter is None:
            return NoAnswer("no letter is announced, marked or alone on its line")
        accepted = fixed
        if options is not None:
            count = len(options(sample))
            accepted = fixed[:count] if fixed else ascii_uppercase[:count]
        if letter in accepted:
            return letter
        return NoAnswer(f"the letter {letter} is none of the options {', '.join(accepted)}")

    return find


def options_in(column: str) -> Options:
    """Read the options of a sample from one of its columns, as a prompt does that shows them.

    Raises PairError, naming the sample, where there are none.
    """
    from pytest_evalrun.llm.columns import columns_of
    from pytest_evalrun.llm.columns import options_in as options_of

    def options(sample: Sample) -> list[str]:
        columns = sample.input if type(sample.input) is dict and column in sample.input else columns_of(sample.input)
        try:
            return options_of(columns, column)
        except (PairError, SampleError) as error:
            raise PairError(f"sample {sample.id}: {error}") from None

    return options


def _regex(pattern: str) -> Finder:
    """Python's matcher hears signals: a pattern that never ends is ended by the item's limit."""
    form = re.compile(pattern)
    group = 1 if form.groups else 0
    none = NoAnswer(f"no match of {pattern}")

    def find(text: str, _: Sample) -> str | NoAnswer:
        answer = None
        for match in form.finditer(text):
            answer = match[group] or answer  # what matches nothing is no match
        return answer or none

    return find


def _after(mark: str) -> Finder:
    none, empty = NoAnswer(f"no {mark!r}"), NoAnswer(f"nothing follows {mark!r} on its line")

    def find(text: str, __: Sample) -> str | NoAnswer:
        _, there, rest = text.rpartition(mark)
        if not there:
            return none
        line = rest.splitlines()[0] if rest else ""
        return line if line.strip() else empty

    return find


def _last_number(text: str, _: Sample) -> int | float | NoAnswer:
    number = last_number(text)
    return NoAnswer("no number") if number is None else number


def _first_line(text: str, _: Sample) -> str | NoAnswer:
    return next((line for line in text.splitlines() if line.strip()), None) or NoAnswer("the model said nothing")


def _json(said: Any) -> Finder:
    """The last JSON in which the path leads somewhere: ``[1]`` behind an object is a footnote, not the answer."""
    if said is True or isinstance(said, str):
        said = {} if said is True else {"path": said}
    path = json_path(said.get("path", ""))
    flaw = _schema(said["schema"]) if "schema" in said else None

    def find(text: str, _: Sample) -> Any:
        whole = answer = None
        why = "no object or list of JSON"
        for value in values_in(text):
            try:
                whole, answer, why = value, value_at(value, path), ""
            except LookupError:
                why = why and f"no {said['path']} in the JSON"
        if not why and flaw is not None and (wrong := flaw(whole)):
            why = f"the JSON does not fit the schema: {wrong}"
        return NoAnswer(why or "the value is null") if why or answer is None else answer

    return find


def _schema(schema: Mapping[str, Any]) -> Callable[[Any], str]:
    """What is wrong with a value, by a JSON Schema; empty where nothing is."""
    from pytest_evalrun.metrics.checks import library

    jsonschema = library("answer: json", "jsonschema", "text")
    kind = jsonschema.validators.validator_for(schema)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise PairError(f"answer.json.schema is no JSON Schema: {error.message}") from None
    best, check = jsonschema.exceptions.best_match, kind(schema)

    def flaw(value: Any) -> str:
        error = best(check.iter_errors(value))
        return "" if error is None else f"{error.json_path}: {error.message}"[:200]

    return flaw


# What may stand around a letter: brackets, quotes, and the marks of Markdown and LaTeX; a few, for a text of thousands
# would take seconds to be no match.
_OPEN = r"[\s*_`\"'“‘(\[{$]{0,12}(?:\\(?:boxed|text|textbf|mathrm|mathbf)\{){0,3}[(*]{0,3}"
_CLOSE = r"[*_`\"'”’)\]}$]{0,12}"
# `A, B` and `A or B` are two answers, which is none.
_ALONE = r"(?!\W{0,3}\s?(?:,|/|&|\band\b|\bor\b)\s*\W{0,3}[A-Z]\b)"
# In running text a letter ends its clause, or goes on with a reason: `A good question` is not about A.
_GOES_ON = r"because|since|as|and|which|with|for|due|not|or|is"

# A line of its own: `ANSWER: B`, `**Answer:** (b).`, `Final answer: B) Paris`.
_STRICT = re.compile(
    rf"^[^\w\n]{{0,20}}(?:final[ \t]+|correct[ \t]+)?answer[*_ \t]*[:：](?!\s*\n){_OPEN}([A-Z]){_ALONE}"
    rf"(?={_CLOSE}[ \t]*(?:[.:;)]|$))",
    re.IGNORECASE | re.MULTILINE,
)
# A sentence, from its word on: `answer is (B)`, `option is B because …`, `boxed{B}`, `Option B is correct`.
_STATED = re.compile(
    r"(?:(?i:answer|option|choice)\b[^.\n:]{0,30}?(?:\b(?i:is|be)\b|[:：=])"
    r"\s{0,3}(?:(?i:option|choice|letter)\s+)?"
    rf"(?:[*_$\"'“]*\(\s*([A-Za-z])\s*\)|[*_$]*\*\*\(?([A-Za-z])\b(?![ '’]\w)|{_OPEN}([A-Z])\b(?!['’]\w)"
    rf"(?={_CLOSE}(?:[.,:;!?)\n]|\s*$|\s+[^\sa-z]|\s+(?:{_GOES_ON})\b))){_ALONE})"
    r"|boxed\{(?:\\text\{)?\(?([A-Za-z])\)?\}"
    r"|(?i:option|choice|answer)\s+\(?([A-Z])\)?\s+(?i:is\s+(?:the\s+)?(?:correct|right|best))\b"
)
# `**B**`, `**(B)**`, `**B) Paris**`; a heading, `**A. First things**`, is none.
_BOLD = re.compile(r"\*\*\(?([A-Z])\)?[.:]?\*\*|\*\*\(?([A-Z])\)[^*\n]*\*\*")
# Nothing else on its line: `B`, `(B)`, `B.`, `$B$`.
_LINE = re.compile(rf"^[ \t*_`\"'(\[{{$]{{0,12}}([A-Z]){_CLOSE}[.:)]?[ \t]*$", re.MULTILINE)
# All that was said is one line: `B) Paris`, `(B) Paris`, `B. Paris`.
_ONLY_LINE = re.compile(r"\s*[*_`(\[]*([A-Z])[*_`]*[)\].:]+[*_`]*[ \t]+[^\n]*\s*")
_WORDS = ("answer", "option", "choice", "boxed")


def letter_in(text: str) -> str | None:
    """The letter that is answered, in upper case, whatever options there are; None where none is."""
    last = _last(_STRICT, text) or _last_stated(text) or _last(_BOLD, text) or _last(_LINE, text)
    if last is not None:
        return str(last[last.lastindex or 0]).upper()
    only = _ONLY_LINE.fullmatch(text)
    return only[1] if only else None


def _last(form: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in form.finditer(text):
        last = match
    return last


def _last_stated(text: str) -> re.Match[str] | None:
    """The last sentence that states a letter: from the end back, for a word is found faster than a sentence."""
    lower = text.lower()
    if len(lower) != len(text):  # of some letters the lower ones are two
        lower = text
    places = {word: lower.rfind(word) for word in _WORDS}
    while (place := max(places.values())) >= 0:
        before = lower[place - 1 : place]
        if not (before.isalnum() or before == "_") and (match := _STATED.match(text, place)):
            return match
        word = max(places, key=lambda word: places[word])
        places[word] = lower.rfind(word, 0, place)
    return None
