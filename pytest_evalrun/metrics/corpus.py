"""Metrics on texts by the field's libraries, extra ``text``: BLEU, chrF, word errors of a corpus; ROUGE, likeness."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.checks import library, measured, need_samples, switch
from pytest_evalrun.metrics.intervals import bootstrap_sums
from pytest_evalrun.metrics.means import MeanOfScores, text_of, texts_of
from pytest_evalrun.metrics.resampled import table_of, values_of_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.metrics.protocol import Better, MetricValue
    from pytest_evalrun.stats.resampling import ValueOfDraws

EXTRA = "text"


class _OfCorpus:
    """A value of sums over all samples: the counts of each are kept, and nothing is counted again for the interval."""

    better: Better = "higher"
    name = ""
    clusters: array[int] | None = None

    def __init__(self) -> None:
        self._counts = array("q")
        self._n = 0
        self._last: list[list[int]] = []

    @property
    def columns(self) -> int:
        """How many numbers a sample adds to the sums."""
        raise NotImplementedError

    def counted(self, prediction: str, references: list[str]) -> list[int]:
        """What a sample adds to the sums, always as many numbers."""
        raise NotImplementedError

    def of_counts(self, counts: list[int]) -> float:
        """Make the value of some sums; NaN where there is none."""
        raise NotImplementedError

    def of_sample(self, counts: list[int]) -> float | None:
        """Score one sample by its own counts."""
        return self.of_counts(counts)

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        rows = [
            self.counted(text_of(self.name, "prediction", prediction), texts_of(self.name, reference))
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return self._kept(rows)

    def unanswered(self, references: Sequence[Any]) -> list[float | None]:
        """Count samples whose prediction holds no answer: as if nothing had been said."""
        return self._kept([self.counted("", texts_of(self.name, reference)) for reference in references])

    def _kept(self, rows: list[list[int]]) -> list[float | None]:
        self._n += len(rows)
        self._last = rows
        for row in rows:
            self._counts.extend(row)
        return [self.of_sample(row) for row in rows]

    def statistic(self) -> list[list[int]]:
        """The counts of the samples that were fed last."""
        return self._last

    def values_of(self, rows: Sequence[Any]) -> ValueOfDraws:
        """The value of each draw from samples with these counts."""
        return values_of_sums(table_of(self.name, rows, self.columns), self._of_sums)

    def _of_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        return np.asarray([self.of_counts(row) for row in sums.round().astype(np.int64).tolist()])

    def result(self) -> MetricValue:
        need_samples(self.name, self._n)
        import numpy as np

        counts = np.frombuffer(self._counts, dtype=np.int64).reshape(self._n, -1)
        value = self.of_counts(counts.sum(axis=0).tolist())
        interval = bootstrap_sums(value, counts.astype(np.float64), self._of_sums, self.clusters)
        return measured(self.name, value, self._n, interval, self.better, self.table())

    def table(self) -> dict[str, Any] | None:
        """What else the result has to show."""
        return None


class _Sacrebleu(_OfCorpus):
    """A metric of sacrebleu, 0 to 100, with its signature. What it counts a sentence is what its own bootstrap uses."""

    bounds = (0.0, 100.0)

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._params = params
        self._numbers: set[int] = set()
        self._made: Any = None

    @property
    def scorer(self) -> Any:
        """The library's object, made when it is needed first."""
        if self._made is None:
            self._made = self.make(library(self.name, "sacrebleu.metrics", EXTRA), self._params)
        return self._made

    def make(self, metrics: Any, params: dict[str, Any]) -> Any:
        raise NotImplementedError

    def counted(self, prediction: str, references: list[str]) -> list[int]:
        self._numbers.add(len(references))
        streams = [[reference] for reference in references]
        found = self.scorer._extract_corpus_statistics([prediction], streams)  # noqa: SLF001 - its only way to counts
        return [int(number) for number in found[0]]

    def of_counts(self, counts: list[int]) -> float:
        return float(self.scorer._compute_score_from_stats(counts).score)  # noqa: SLF001 - as above

    def table(self) -> dict[str, Any]:
        self.scorer.num_refs = next(iter(self._numbers)) if len(self._numbers) == 1 else -1
        return {"signature": str(self.scorer.get_signature())}


class Bleu(_Sacrebleu):
    """BLEU of the whole corpus by sacrebleu; a sample's own score is its sentence BLEU."""

    name = "bleu"

    def __init__(self, *, tokenize: str = "13a", lowercase: bool = False) -> None:
        super().__init__(
            tokenize=_word(self.name, "tokenize", tokenize), lowercase=switch(self.name, "lowercase", lowercase)
        )

    def make(self, metrics: Any, params: dict[str, Any]) -> Any:
        if params["tokenize"] not in metrics.BLEU.TOKENIZERS:
            accepted = ", ".join(metrics.BLEU.TOKENIZERS)
            raise PairError(f"metric bleu: tokenize is {params['tokenize']!r}; accepted: {accepted}")
        return metrics.BLEU(**params)

    @property
    def columns(self) -> int:
        return 2 + 2 * int(self.scorer.max_ngram_order)

    def of_sample(self, counts: list[int]) -> float:
        scorer, order = self.scorer, self.scorer.max_ngram_order
        right, total = counts[2 : 2 + order], counts[2 + order :]
        made = scorer.compute_bleu(right, total, counts[0], counts[1], scorer.smooth_method, effective_order=True)
        return float(made.score)


class Chrf(_Sacrebleu):
    """chrF of the whole corpus by sacrebleu; with ``word_order: 2`` chrF++."""

    name = "chrf"

    def __init__(self, *, word_order: int = 0, lowercase: bool = False) -> None:
        if type(word_order) is not int or word_order < 0:
            raise ConfigError(f"metric chrf: word_order is {word_order!r}; accepted: a whole number from 0")
        super().__init__(word_order=word_order, lowercase=switch(self.name, "lowercase", lowercase))

    def make(self, metrics: Any, params: dict[str, Any]) -> Any:
        return metrics.CHRF(**params)

    @property
    def columns(self) -> int:
        return 3 * int(self.scorer.order)


class WordErrors(_OfCorpus):
    """The word error rate of the whole corpus by jiwer: errors by the words of all references."""

    better: Better = "lower"
    name = "wer"
    columns = 2

    def __init__(self, *, ignore_case: bool = False) -> None:
        super().__init__()
        self._ignore_case = switch(self.name, "ignore_case", ignore_case)

    def counted(self, prediction: str, references: list[str]) -> list[int]:
        if self._ignore_case:
            prediction, references = prediction.casefold(), [each.casefold() for each in references]
        return min((self._errors(prediction, reference) for reference in references), key=_rate)

    def _errors(self, prediction: str, reference: str) -> list[int]:
        words = len(reference.split())
        if not words:  # of no words every one that was said is too many
            return [len(prediction.split()), 0]
        found = library(self.name, "jiwer", EXTRA).process_words(reference, prediction)
        return [found.substitutions + found.deletions + found.insertions, words]

    def of_counts(self, counts: list[int]) -> float:
        errors, words = counts
        return errors / words if words else float("nan")

    def of_sample(self, counts: list[int]) -> float | None:
        return self.of_counts(counts) if counts[1] else None


def _rate(counts: list[int]) -> float:
    errors, words = counts
    return errors / (words or 1)


class Rouge(MeanOfScores):
    """The mean F-measure of ROUGE by rouge-score; of several references the best. ``kind``: rouge1, rougeL, …"""

    name = "rouge"

    def __init__(self, *, kind: str = "rougeL", stemmer: bool = False) -> None:
        super().__init__()
        if kind not in ROUGES:
            raise ConfigError(f"metric rouge: kind is {kind!r}; accepted: {', '.join(ROUGES)}")
        self._kind, self._stemmer = kind, switch(self.name, "stemmer", stemmer)
        self._scorer: Any = None

    def score(self, prediction: Any, reference: Any) -> float:
        texts = texts_of(self.name, reference)
        if self._scorer is None:
            module = library(self.name, "rouge_score.rouge_scorer", EXTRA)
            self._scorer = module.RougeScorer([self._kind], use_stemmer=self._stemmer)
        scores = self._scorer.score_multi(texts, text_of(self.name, "prediction", prediction))
        return float(scores[self._kind].fmeasure)


ROUGES = (*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum")


class Fuzzy(MeanOfScores):
    """The mean likeness of prediction and reference by rapidfuzz, 0 to 1; of several references the best."""

    name = "fuzzy"

    def __init__(self, *, ignore_case: bool = False) -> None:
        super().__init__()
        self._ignore_case = switch(self.name, "ignore_case", ignore_case)

    def score(self, prediction: Any, reference: Any) -> float:
        ratio = library(self.name, "rapidfuzz.fuzz", EXTRA).ratio
        text, texts = text_of(self.name, "prediction", prediction), texts_of(self.name, reference)
        if self._ignore_case:
            text, texts = text.casefold(), [each.casefold() for each in texts]
        return max(float(ratio(text, each)) for each in texts) / 100


def _word(metric: str, key: str, value: Any) -> str:
    if type(value) is not str:
        raise ConfigError(f"metric {metric}: {key} is {value!r}; accepted: text")
    return value
