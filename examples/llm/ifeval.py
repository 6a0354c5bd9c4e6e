"""Instructions that can be verified, of the kinds that IFEval knows; each is a function of what the model said.

Written from the paper (Zhou and others, arXiv 2311.07911) and in its spirit: sentences and words are told apart by
plain rules and not by NLTK, so a rare prompt may be judged otherwise. `language:response_language` is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.metrics.checks import Proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Options = dict[str, Any]

RELATIONS = {"less than": lambda found, wanted: found < wanted, "at least": lambda found, wanted: found >= wanted}
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


class Strict(Proportion):
    """The share of prompts all of whose instructions are followed."""

    name = "strict"
    takes_samples = True

    def update(
        self, predictions: Sequence[Any], references: Sequence[Any], samples: Sequence[Any] = ()
    ) -> list[float | None]:
        rows = zip(predictions, references, samples, strict=True)
        return self.count([float(follows(str(said), names, sample.input["kwargs"])) for said, names, sample in rows])


def follows(said: str, names: Sequence[str], options: Sequence[Options | None]) -> bool:
    """Tell whether all instructions are followed. Raises PairError for one that is not known here."""
    if unknown := [name for name in names if name not in CHECKS]:
        raise PairError(f"instruction {unknown[0]!r} is not known; accepted: {', '.join(sorted(CHECKS))}")
    # Tables give each mapping the keys of all, with null where one has none of its own.
    given = [{key: value for key, value in (row or {}).items() if value is not None} for row in options]
    return bool(said.strip()) and all(CHECKS[name](said, row) for name, row in zip(names, given, strict=True))


def compare(found: int, wanted: int, relation: str) -> bool:
    if relation not in RELATIONS:
        raise PairError(f"relation {relation!r} is not known; accepted: {', '.join(RELATIONS)}")
    return RELATIONS[relation](found, wanted)


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def pieces_of(text: str, between: str) -> list[str]:
    """What stands between separators; one at the very beginning or end separates nothing."""
    pieces = [piece.strip() for piece in text.split(between)]
    return pieces[not pieces[0] : len(pieces) - (len(pieces) > 1 and not pieces[-1])]


def count_of(word: str, text: str) -> int:
    return len(re.findall(re.escape(word), text, re.IGNORECASE))


def has_word(word: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None


def number_sentences(said: str, row: Options) -> bool:
    return compare(len(re.findall(r"[^.!?\s][^.!?]*(?:[.!?]+|$)", said)), row["num_sentences"], row["relation"])


def nth_paragraph(said: str, row: Options) -> bool:
    paragraphs = said.split("\n\n")
    if len([text for text in paragraphs if text.strip()]) != row["num_paragraphs"]:
        return False
    place = row["nth_paragraph"] - 1
    first = words_of(paragraphs[place])[:1] if 0 <= place < len(paragraphs) else []
    return bool(first) and first[0].lower() == row["first_word"].lower()


def number_paragraphs(said: str, row: Options) -> bool:
    paragraphs = pieces_of(said, "***")
    return len(paragraphs) == row["num_paragraphs"] and all(paragraphs)


def is_json(said: str, _: Options) -> bool:
    text = re.sub(r"^\s*```(?:json|Json|JSON)?|```\s*$", "", said)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def highlighted(said: str, row: Options) -> bool:
    found = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", said)
    return sum(bool(text.strip("* ")) for text in found) >= row["num_highlights"]


def sections(said: str, row: Options) -> bool:
    return len(re.findall(rf"{re.escape(row['section_spliter'])}\s?\d+", said)) >= row["num_sections"]


def two_responses(said: str, _: Options) -> bool:
    answers = pieces_of(said, "*" * 6)
    return len(answers) == 2 and answers[0] != answers[1] and all(answers)


def capital_words(said: str, row: Options) -> bool:
    found = sum(word.isupper() for word in words_of(said))
    return compare(found, row["capital_frequency"], row["capital_relation"])


def ends_with(said: str, row: Options) -> bool:
    return said.strip().strip('"').lower().endswith(row["end_phrase"].strip().lower())


def postscript(said: str, row: Options) -> bool:
    return row["postscript_marker"].lower().replace(" ", "") in said.lower().replace(" ", "")


def quoted(said: str, _: Options) -> bool:
    text = said.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


CHECKS: dict[str, Callable[[str, Options], bool]] = {
    "change_case:capital_word_frequency": capital_words,
    "change_case:english_capital": lambda said, _: said.isupper(),
    "change_case:english_lowercase": lambda said, _: said.islower(),
    "combination:repeat_prompt": lambda said, row: (
        said.strip().lower().startswith(row["prompt_to_repeat"].strip().lower())
    ),
    "combination:two_responses": two_responses,
    "detectable_content:number_placeholders": lambda said, row: (
        len(re.findall(r"\[.*?\]", said)) >= row["num_placeholders"]
    ),
    "detectable_content:postscript": postscript,
    "detectable_format:constrained_response": lambda said, _: any(text in said for text in CONSTRAINED),
    "detectable_format:json_format": is_json,
    "detectable_format:multiple_sections": sections,
    "detectable_format:number_bullet_lists": lambda said, row: (
        len(re.findall(r"^\s*(?:\*[^*\n]|-)", said, re.MULTILINE)) == row["num_bullets"]
    ),
    "detectable_format:number_highlighted_sections": highlighted,
    "detectable_format:title": lambda said, _: re.search(r"<<[^\n<>]*[^\s<>][^\n<>]*>>", said) is not None,
    "keywords:existence": lambda said, row: all(count_of(word, said) for word in row["keywords"]),
    "keywords:forbidden_words": lambda said, row: not any(has_word(word, said) for word in row["forbidden_words"]),
    "keywords:frequency": lambda said, row: compare(count_of(row["keyword"], said), row["frequency"], row["relation"]),
    "keywords:letter_frequency": lambda said, row: compare(
        said.lower().count(row["letter"].lower()), row["let_frequency"], row["let_relation"]
    ),
    "length_constraints:nth_paragraph_first_word": nth_paragraph,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_words": lambda said, row: compare(
        len(words_of(said)), row["num_words"], row["relation"]
    ),
    "punctuation:no_comma": lambda said, _: "," not in said,
    "startend:end_checker": ends_with,
    "startend:quotation": quoted,
}
