"""Which pairs of a run are exported, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.results import Result, read_result
from pytest_evalrun.suite.printable import counted, first_of
from pytest_evalrun.suite.secrets import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.rundir.layout import PairPaths, RunPaths

MOST_NAMED = 5
# Kinds of metrics whose score of a sample is 0 or 1 whatever the samples are.
RIGHT_OR_WRONG = frozenset(
    {"top1", "topk", "macro_f1", "confusion", "exact_match", "includes", "regex", "choice", "number", "majority"}
    | {"json_match", "success"}
)
# Kinds whose value is a share of one.
SHARES = RIGHT_OR_WRONG | {"f1", "pass_at", "pass_hat", "rouge", "fuzzy", "unanswered"}


@dataclass(frozen=True)
class SentSample:
    """What the model was sent of one sample: chat messages as OpenAI has them, or a text; None where nobody knows.

    ``digest`` tells what a line of predictions says of a request with just this, by the generation that was asked for.
    """

    id: str
    content: list[dict[str, Any]] | str | None
    digest: Callable[[int], str] | None = None


@dataclass(frozen=True)
class Sources:
    """What the suite of a pair, as it is today, says of its samples; of a suite that is gone nothing.

    ``sent`` goes through the samples in dataset order, anew each time. ``embed`` makes the URL of a file that the model
    wrote, None where it is not to be shown. ``secrets`` are blanked in all that comes from the suite. ``problem`` is
    why nothing is known.
    """

    inputs: Inputs = field(default_factory=Inputs)
    sent: Callable[[], Iterator[SentSample]] | None = None
    embed: Callable[[str], str | None] = lambda _: None
    secrets: Secrets = NO_SECRETS
    problem: str | None = None


SourcesOf = Callable[["KnownPair"], Sources]


@dataclass(frozen=True)
class ChosenPair:
    """A pair that is exported. ``result`` is None where it has only predictions so far."""

    known: KnownPair
    files: PairPaths
    result: Result | None

    @property
    def generations(self) -> int:
        """How many answers each sample has."""
        each = self._part("prediction").get("generations", 1)
        return each if type(each) is int and each > 0 else 1

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What the result depends on; empty where there is none."""
        return {} if self.result is None else self.result.fingerprint

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """What the result says of each metric."""
        return {} if self.result is None else self.result.metrics

    @property
    def total(self) -> int:
        """How many answers are wanted, of all samples; none where nobody can say."""
        return 0 if self.result is None else self.result.samples.get("total", 0)

    def uses(self, metric: str) -> str:
        """The kind of a metric: what the suite calls ``use``, where the result tells it."""
        specs = self._part("score").get("metrics")
        spec = specs.get(metric) if isinstance(specs, dict) else None
        return str(spec.get("use", metric)) if isinstance(spec, dict) else metric

    def _part(self, name: str) -> Mapping[str, Any]:
        part = self.fingerprint.get(name)
        return part if isinstance(part, dict) else {}


@dataclass(frozen=True)
class ChosenPairs:
    """The pairs that are exported, in natural order, and in words which are not, and why."""

    pairs: tuple[ChosenPair, ...]
    remarks: tuple[str, ...]


def choose(paths: RunPaths, matches: Callable[[str], bool] | None = None, *, limits: bool = False) -> ChosenPairs:
    """Choose what of a run can be exported: what has a result, or at least predictions.

    ``matches`` is asked of full ids. ``limits``: evaluations of first samples, too.
    """
    known = known_pairs(paths)
    wanted = [pair for pair in (*known.pairs, *known.limits) if matches is None or matches(pair.full_id)]
    found: list[ChosenPair] = []
    empty: list[str] = []
    skipped: list[str] = []
    quick = [pair for pair in wanted if pair.limit is not None and not limits]
    for pair in wanted:
        if pair.limit is not None and not limits:
            continue
        files = paths.pair(pair.key)
        result = read_result(files.result)
        if pair.status == "skipped":
            skipped.append(pair.full_id)
        elif result is None and not files.predictions.is_file():
            empty.append(pair.full_id)
        else:
            found.append(ChosenPair(pair, files, result))
    remarks = [f"{name}: it is damaged; what it says is left out" for name in known.damaged]
    remarks += _left_out(empty, "without a result")
    remarks += _left_out(skipped, "that is skipped", "that are skipped")
    remarks += _left_out([pair.full_id for pair in quick], "of first samples alone", more="; --limits takes them too")
    return ChosenPairs(tuple(found), tuple(remarks))


def _left_out(names: list[str], what: str, several: str = "", more: str = "") -> list[str]:
    if not names:
        return []
    words = what if len(names) == 1 else several or what
    return [f"{counted(len(names), 'pair')} {words} left out: {first_of(names, MOST_NAMED)}{more}"]
