"""The result of one pair in lines and rows for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE, verdict_word
from pytest_evalrun.report.gatewords import against_of, basis_of, interval_words, is_advice, margin_of, why_of
from pytest_evalrun.report.matrix import MOST_LABELS, cells_of, tables_of
from pytest_evalrun.report.rows import PACE
from pytest_evalrun.report.text import number
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.rundir.results import ends
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import one_line
from pytest_evalrun.suite.problems import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.report.rows import SummaryRow
    from pytest_evalrun.report.samples import ScoredSample

METRICS = ("metric", "value", "95 % interval", "n", "better", "gate")
GATES = ("gate", "verdict", "interval", "measured from", "by", "why")
MORE = frozenset({"why", "interval", "method"})
RECORDED = ("recorded by a test", "value")


def result_lines(row: SummaryRow) -> Iterator[str]:
    """Say how the pair stands, and why where it ended in an error or was skipped."""
    counts = ", ".join(f"{count} {name}" for name, count in row.samples.items())
    seconds = "" if row.seconds is None else f"; {number(row.seconds)} s"
    yield f"{first_samples(row.pair, row.limit)}: {row.status}; samples: {counts}{seconds}"
    if row.samples.get("predicted"):
        pace = (row.pace.get(name) for name in PACE)
        p50, p95, throughput = ("-" if value is None else number(value) for value in pace)
        yield f"seconds a sample: p50 {p50}, p95 {p95}; samples a second: {throughput}"
    if row.statuses:
        yield f"ended: {ends(row.statuses)}"
    for name, table in tables_of(row):
        if (count := len(table["labels"])) > MOST_LABELS:
            yield f"{name}: its table of {count} labels is in results/{'/'.join(row.key)}.json"
    if row.error:
        yield from row.error.splitlines()
    if row.skipped:
        yield f"skipped: {row.skipped}"


def metric_rows(row: SummaryRow) -> Iterator[tuple[str, ...]]:
    """Make the cells under ``METRICS``."""
    for name, metric in row.metrics.items():
        interval = f"{number(metric['low'])} to {number(metric['high'])}"
        gates = [_of_gate(gate) for gate in row.gates if gate["metric"] == name]
        yield name, number(metric["value"]), interval, str(metric["n"]), metric["better"], "; ".join(gates)


def _of_gate(gate: Mapping[str, Any]) -> str:
    told = f"{gate['kind']} {number(gate['limit'])}"
    if is_advice(gate):
        return f"{told} is past by {number(gate['by'])}, and advisory"
    # A value that keeps its limit may yet be too little, where the suite wants more than values.
    held = "holds" if gate["holds"] else f"breached by {number(gate['by'])}" if gate["by"] else "breached"
    return f"{told} {held}{', undecided' if verdict_word(gate) == INCONCLUSIVE else ''}"


def gate_rows(row: SummaryRow) -> Iterator[tuple[str, ...]]:
    """Make the cells under ``GATES``: of gates of which the result says more than a value and a limit."""
    for gate in row.gates:
        if MORE & gate.keys():
            better = row.metrics.get(gate["metric"], {}).get("better", "higher")
            tier = "" if gate.get("tier") in (None, "supporting") else f", {gate['tier']}"
            name = one_line(f"{gate['metric']} {gate['kind']} {margin_of(gate)}{tier}")
            interval = interval_words(gate, better)
            yield name, verdict_word(gate), interval, against_of(gate), basis_of(gate), why_of(gate)


def tables(row: SummaryRow) -> Iterator[tuple[Sequence[str], Iterable[Sequence[str]]]]:
    """Header and rows of all that the result has: metrics, the tables of some of them, what tests recorded."""
    if row.metrics:
        yield METRICS, metric_rows(row)
    if judged := list(gate_rows(row)):
        yield GATES, judged
    for name, table in tables_of(row):
        if len(table["labels"]) > MOST_LABELS:
            continue
        header, *rows = cells_of(table)
        yield (f"{name}: reference \\ prediction", *header[1:]), rows
    if row.recorded:
        yield RECORDED, ((name, one_line(value)) for name, value in row.recorded.items())


def sample_header(inputs: Sequence[str]) -> tuple[str, ...]:
    return ("index", "id", *inputs, "prediction", "reference", "score", "metric", "file")


def sample_rows(samples: Iterable[ScoredSample]) -> Iterator[tuple[str, ...]]:
    """Make the cells under :func:`sample_header`."""
    for s in samples:
        inputs = ("" if value is None else shown(one_line(value)) for value in s.inputs)
        name = file_of(s.prediction)
        # A file by its name: size and hash say nothing to a person.
        prediction = one_line(s.prediction if name is None else name)
        score = f"{s.score:.6g}"
        which = str(s.index) if s.generation is None else f"{s.index} #{s.generation}"
        yield which, s.id, *inputs, prediction, one_line(s.reference), score, s.metric, s.file or ""
