"""What the DataFrames of a run have: each column with its dtype and its unit, whatever the run holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# pandas' name of the dtype of moments, and of values of which each may be of another kind.
TIME: Final = "datetime64[ns, UTC]"
ANY: Final = "object"
CATEGORY: Final = "category"

PAIR_STATUSES = ("passed", "failed", "error", "skipped", "pending", "running", "damaged")
SAMPLE_STATUSES = ("ok", "failed")
DIRECTIONS = ("higher", "lower")
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")
TIERS = ("critical", "supporting", "advisory")
CHANGES = ("better", "worse", "same", "only one has it")


class FrameColumn(NamedTuple):
    """A column of a DataFrame; ``words`` are the categories of one that has some."""

    name: str
    dtype: str
    text: str
    words: tuple[str, ...] = ()


_PAIR = FrameColumn("pair", "string", "its id, `suite/task/dataset`; what `run.samples()` takes")
_NAMES = (
    _PAIR,
    FrameColumn("suite", "string", "name of the suite"),
    FrameColumn("task", "string", "name of the task: the model, `model@prompt` where there are prompts"),
    FrameColumn("dataset", "string", "name of the dataset"),
    FrameColumn("limit", "Int64", "of an evaluation of the first samples alone: how many; none of all others"),
    FrameColumn("status", CATEGORY, "how the pair stands", PAIR_STATUSES),
)
_COUNTS = (
    FrameColumn("samples", "Int64", "samples in the dataset"),
    FrameColumn("predicted", "Int64", "samples that have an answer"),
    FrameColumn("failed", "Int64", "samples that came to nothing"),
    FrameColumn("seconds", "Float64", "seconds that the evaluation took"),
    FrameColumn("p50", "Float64", "seconds that half of the samples were waited for at most"),
    FrameColumn("p95", "Float64", "seconds that 95 % of the samples were waited for at most"),
    FrameColumn("throughput", "Float64", "samples a second while predicting"),
)
_MODEL = (
    FrameColumn("cost", "Float64", "what the answers cost, in the currency of the suite's prices"),
    FrameColumn("model_bytes", "Int64", "bytes of the model's files"),
)

PAIRS = (
    *_NAMES,
    FrameColumn("reason", "string", "why it ended in an error, or is skipped"),
    FrameColumn("gone", "boolean", "whether its suite no longer has it"),
    *_COUNTS,
    *_MODEL,
)
RESULTS = (
    *_NAMES,
    FrameColumn("metric", "string", "name of the metric, or `<test>.<name>` of what a test recorded"),
    FrameColumn("value", "Float64", "value, in the metric's own unit"),
    FrameColumn("low", "Float64", "lower end of the 95 % interval, in the same unit"),
    FrameColumn("high", "Float64", "upper end of it"),
    FrameColumn("n", "Int64", "samples behind the value"),
    FrameColumn("better", CATEGORY, "which way is better", DIRECTIONS),
    FrameColumn("holds", "boolean", "whether all gates of the metric hold; none without a gate"),
    FrameColumn("outdated", "boolean", "value of an earlier evaluation: the last one ended in an error"),
    *_COUNTS,
    *_MODEL,
)
GATES = (
    _PAIR,
    FrameColumn("metric", "string", "what is judged"),
    FrameColumn("kind", "string", "`min`, `max` or `max_drop`"),
    FrameColumn("limit", "Float64", "limit, in the metric's own unit"),
    FrameColumn("value", "Float64", "value that was judged"),
    FrameColumn("by", "Float64", "how far past the limit it is, in the same unit; 0 where the gate holds"),
    FrameColumn("holds", "boolean", "whether it holds: what the pair's status follows"),
    FrameColumn("verdict", CATEGORY, "what its interval says; of a gate by the value alone, the value", VERDICTS),
    FrameColumn("tier", CATEGORY, "how much it matters; none in results of earlier versions", TIERS),
    FrameColumn("low", "Float64", "lower end of the interval it was judged by: of `max_drop` the change of quality"),
    FrameColumn("high", "Float64", "upper end of it; more is better in both, whatever the metric's own sense"),
    FrameColumn("n", "Int64", "samples that were compared"),
    FrameColumn("method", "string", "how the interval was made"),
    FrameColumn("p", "Float64", 'p-value of "nothing got worse", one-sided; of a comparison alone'),
    FrameColumn("why", "string", "what the verdict rests on"),
)
SAMPLES = (
    FrameColumn("index", "Int64", "place of the sample in the dataset, from 0"),
    FrameColumn("generation", "Int64", "which of several answers to the sample, from 0; none where there is one each"),
    FrameColumn("id", "string", "id of the sample, which never changes"),
    FrameColumn("status", CATEGORY, "whether the model answered", SAMPLE_STATUSES),
    FrameColumn("prediction", ANY, "what the model answered, as JSON has it: text, number, list, dict"),
    FrameColumn("reference", ANY, "what the answer should have been, likewise"),
    FrameColumn("answer", ANY, "what was taken out of the prediction for scoring, where `answer:` says how"),
    FrameColumn("no_answer", "string", "why nothing could be taken out"),
    FrameColumn("error", "string", "why the sample failed"),
    FrameColumn("seconds", "Float64", "seconds that the sample was waited for"),
    FrameColumn("detail", ANY, "what else the model told, a dict: usage, finish reason, attempts"),
)
# Behind those of SAMPLES, one of each that there is.
SCORE = FrameColumn("score.NAME", "Float64", "score of the sample by a metric; none where it has none")
JUDGED = FrameColumn("judge.NAME", "string", "what the judge of a metric said of the answer")
INPUT = FrameColumn(
    "input.NAME", ANY, "part of what was asked (`input` where it has no name); only where the suite is still there"
)
HISTORY = (
    FrameColumn("time", TIME, "when the evaluation was complete"),
    _PAIR,
    FrameColumn("metric", "string", "name of the metric"),
    FrameColumn("value", "Float64", "value, in the metric's own unit"),
    *_COUNTS,
)
EVENTS = (
    FrameColumn("time", TIME, "when it happened"),
    FrameColumn("event", "string", "what happened: `item_finished`, `model_loaded`, …"),
    FrameColumn("pair", "string", "pair that it is about"),
    FrameColumn("worker", "string", "process that it happened in"),
    FrameColumn("outcome", "string", "of `item_finished`: `passed`, `failed`, `error`, `skipped`"),
    FrameColumn("reused", "boolean", "of `item_finished`: whether an earlier result was"),
    FrameColumn("reason", "string", "why it was evaluated, or skipped"),
    FrameColumn("seconds", "Float64", "seconds that it took"),
    FrameColumn("more", ANY, "all else that the event says, a dict"),
)
DIFF = (
    _PAIR,
    FrameColumn("status_before", CATEGORY, "how the pair stands in the other run", PAIR_STATUSES),
    FrameColumn("status_after", CATEGORY, "how it stands in this one", PAIR_STATUSES),
    FrameColumn("metric", "string", "name of the metric; none where no metric is to be compared"),
    FrameColumn("before", "Float64", "value in the other run, in the metric's own unit"),
    FrameColumn("after", "Float64", "value in this one"),
    FrameColumn("change", "Float64", "`after` - `before`"),
    FrameColumn("verdict", CATEGORY, "what that means in the metric's own sense", CHANGES),
    FrameColumn("low", "Float64", "lower end of the 95 % interval of `change`; none where there is none"),
    FrameColumn("high", "Float64", "upper end of it"),
    FrameColumn("n", "Int64", "samples that were compared for it"),
    FrameColumn("method", "string", "how it was found, such as Tango's score interval"),
    FrameColumn("lost", "Int64", "samples that were right before and are wrong now; none without such a turn"),
    FrameColumn("won", "Int64", "samples that were wrong before and are right now"),
    FrameColumn("lost_ids", ANY, "ids of the first of those that were lost, a list"),
    FrameColumn("won_ids", ANY, "ids of the first of those that were won, a list"),
    FrameColumn("remark", "string", "what else differs: only one run has the pair, the references differ"),
)

# By the name under which a Run has each: what docs/notebook.md shows.
FRAMES: Mapping[str, tuple[FrameColumn, ...]] = {
    "pairs": PAIRS,
    "results": RESULTS,
    "gates": GATES,
    "samples": (*SAMPLES, SCORE, JUDGED, INPUT),
    "history": HISTORY,
    "events": EVENTS,
    "diff": DIFF,
}
