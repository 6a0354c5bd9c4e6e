"""Rules of the metrics on texts that well-kept libraries compute."""

from __future__ import annotations

import sys
from array import array

import jiwer
import numpy as np
import pytest
import sacrebleu
from rapidfuzz import fuzz
from rouge_score.rouge_scorer import RougeScorer

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.corpus import Bleu, Chrf, Fuzzy, Rouge, WordErrors

SAID = ["the cat sat on a mat", "a dog barks loudly today", "nothing", "It is a guide to action"] * 5
WANTED = ["the cat sat on the mat", "the dog barks loudly", "something else", "It is a guide to actions"] * 5


def result(metric, said=SAID, wanted=WANTED):
    metric.update(said, wanted)
    return metric.result()


LIBRARY = {
    "bleu": (Bleu(), lambda: sacrebleu.corpus_bleu(SAID, [WANTED]).score),
    "bleu of characters": (Bleu(tokenize="char"), lambda: sacrebleu.corpus_bleu(SAID, [WANTED], tokenize="char").score),
    "bleu in lower case": (
        Bleu(lowercase=True),
        lambda: sacrebleu.corpus_bleu(SAID, [WANTED], lowercase=True).score,
    ),
    "chrf": (Chrf(), lambda: sacrebleu.corpus_chrf(SAID, [WANTED]).score),
    "chrf++": (Chrf(word_order=2), lambda: sacrebleu.corpus_chrf(SAID, [WANTED], word_order=2).score),
    "wer": (WordErrors(), lambda: jiwer.wer(WANTED, SAID)),
    "rouge": (Rouge(), lambda: np.mean([rouge("rougeL", *pair) for pair in zip(SAID, WANTED, strict=True)])),
    "rouge2": (
        Rouge(kind="rouge2", stemmer=True),
        lambda: np.mean([rouge("rouge2", *pair, stem=True) for pair in zip(SAID, WANTED, strict=True)]),
    ),
    "fuzzy": (Fuzzy(), lambda: np.mean([fuzz.ratio(*pair) / 100 for pair in zip(SAID, WANTED, strict=True)])),
}


def rouge(kind, prediction, reference, stem=False):
    return RougeScorer([kind], use_stemmer=stem).score(reference, prediction)[kind].fmeasure


@pytest.mark.parametrize(("metric", "expected"), LIBRARY.values(), ids=LIBRARY)
def test_values_are_the_librarys(metric, expected):
    """Over the whole corpus, with n and an interval around the value."""
    found = result(metric)
    assert found.value == pytest.approx(expected())
    assert found.n == len(SAID)
    assert found.low < found.value < found.high


def test_a_sample_of_a_corpus_has_its_own_score():
    """That of the sentence alone."""
    assert Bleu().update(SAID[:1], WANTED[:1]) == [pytest.approx(sacrebleu.sentence_bleu(SAID[0], [WANTED[0]]).score)]
    assert Chrf().update(SAID[:1], WANTED[:1]) == [pytest.approx(sacrebleu.sentence_chrf(SAID[0], [WANTED[0]]).score)]
    assert WordErrors().update(SAID[:1], WANTED[:1]) == [pytest.approx(1 / 6)]


def test_the_signature_is_kept():
    """Who compares BLEU needs what it was computed with; of several references, how many there were."""
    assert result(Bleu()).table["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    several = result(Chrf(word_order=2), SAID[:2], [["a", "b"], ["c", "d"]]).table["signature"]
    assert several.startswith("nrefs:2|case:mixed|eff:yes|nc:6|nw:2|")
    assert result(Bleu(), SAID[:2], [["a", "b"], "c"]).table["signature"].startswith("nrefs:var|")


@pytest.mark.parametrize("made", [Bleu, Chrf, Rouge, WordErrors, Fuzzy], ids=lambda made: made.name)
def test_the_best_of_several_references_counts(made):
    """A reference may be a list of texts of which any is right."""
    perfect = {"bleu": 100, "chrf": 100, "wer": 0}.get(made.name, 1)
    assert result(made(), SAID[:1], [["quite another text", SAID[0]]]).value == pytest.approx(perfect)


@pytest.mark.parametrize("made", [Bleu, Chrf, Rouge, WordErrors, Fuzzy], ids=lambda made: made.name)
def test_no_answer_is_as_if_nothing_had_been_said(made):
    """It counts, and never as a success, even where nothing is what was wanted."""
    metric = made()
    metric.update(SAID[:2], WANTED[:2])
    before = metric.result()
    metric.unanswered(["some words", ""])
    after = metric.result()
    assert after.n == before.n + 2
    worse = after.value > before.value if made is WordErrors else after.value < before.value
    assert worse


@pytest.mark.parametrize("made", [Bleu, Chrf, Rouge, WordErrors, Fuzzy], ids=lambda made: made.name)
def test_chunks_and_repeats(made):
    """Feeding in other chunks changes nothing, and answers of one sample are drawn together."""
    whole, pieces, repeated = made(), made(), made()
    for low in range(0, len(SAID), 3):
        pieces.update(SAID[low : low + 3], WANTED[low : low + 3])
    plain = result(whole)
    assert plain == pieces.result()
    repeated.clusters = array("q", np.repeat(range(10), 2).tolist())
    clustered = result(repeated)
    assert clustered.value == plain.value
    assert (clustered.low, clustered.high) != (plain.low, plain.high)


def test_words_that_nobody_wanted():
    """Of an empty reference all that was said is too many; where no reference has a word there is no rate."""
    assert result(WordErrors(), ["a b", "c"], ["", "c"]).value == 2.0
    assert WordErrors().update(["a"], [""]) == [None]
    with pytest.raises(PairError, match="metric wer: the result is nan"):
        result(WordErrors(), ["a"], [""])


def test_case():
    """Case counts unless it is said not to."""
    assert result(WordErrors(ignore_case=True), ["A B"], ["a b"]).value == 0
    assert result(Fuzzy(ignore_case=True), ["A B"], ["a b"]).value == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: Rouge(kind="rougeX"), "rouge: kind is 'rougeX'; accepted: rouge1, ", id="kind"),
        pytest.param(lambda: Chrf(word_order=-1), "chrf: word_order is -1; accepted: a whole number", id="order"),
        pytest.param(lambda: Bleu(tokenize=13), "bleu: tokenize is 13; accepted: text", id="tokenize"),
        pytest.param(lambda: Fuzzy(ignore_case=1), "fuzzy: ignore_case is 1; accepted: true, false", id="switch"),
    ],
)
def test_parameters(make, message):
    """A wrong parameter names the value found and those accepted."""
    with pytest.raises(ConfigError, match=f"metric {message}"):
        make()


def test_a_tokenizer_that_nobody_has():
    """Those of the library are named."""
    with pytest.raises(PairError, match="metric bleu: tokenize is '13b'; accepted: none, zh, 13a,"):
        Bleu(tokenize="13b").update(["a"], ["a"])


@pytest.mark.parametrize(
    ("made", "module"),
    [
        (Bleu, "sacrebleu.metrics"),
        (Rouge, "rouge_score.rouge_scorer"),
        (WordErrors, "jiwer"),
        (Fuzzy, "rapidfuzz.fuzz"),
    ],
    ids=["bleu", "rouge", "wer", "fuzzy"],
)
def test_a_missing_library_names_the_extra(made, module, monkeypatch):
    """Only that pair ends, and says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PairError, match=rf'metric {made.name}: needs {module}.*pip install "pytest-evalrun\[text\]"'):
        made().update(["a"], ["b"])
