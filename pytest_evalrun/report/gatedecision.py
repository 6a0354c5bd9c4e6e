"""The decision of ``evalrun gate`` for people: a page of Markdown with the verdict first, and lines for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.alarms import alarms_of
from pytest_evalrun.comparison.conclusion import PASS
from pytest_evalrun.comparison.decision import BROKEN, MISSING
from pytest_evalrun.comparison.side import finite
from pytest_evalrun.report.gatewords import basis_of, interval_words, margin_of, why_of
from pytest_evalrun.report.room import Passage, fitted
from pytest_evalrun.report.text import markdown, markdown_row, number
from pytest_evalrun.suite.printable import brief, counted, first_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from pytest_evalrun.comparison.decision import Decision, JudgedMetric

# As much as summary.md, for the same reason; of it so much is kept for what is said of the rest.
MOST = 65_000
TOLD = 1_000
# Names are as long as anybody likes, reasons may be pages.
LONGEST_CELL = 200
LONGEST_REASON = 500
# A terminal is for the worst; the Markdown has the others.
MOST_ROWS = 20
HEADER = ("verdict", "pair", "metric", "before", "after", "change", "allowed", "method")
SHORT_HEADER = ("verdict", "pair", "metric", "change", "allowed", "why")
NO_METRIC = "(all of its gates)"


def decision_markdown(decision: Decision) -> str:
    """The decision in at most ``MOST`` characters; every name is shown literally, whatever signs it holds."""
    head = [f"# {_md(decision.line, LONGEST_REASON)}", ""]
    by = f", by {_md(decision.policy)}" if decision.policy else ""
    head += [f"From {_md(decision.base)} to {_md(decision.candidate)}{by}.", ""]
    passages = [passage for passage in _passages(decision) if passage.body]
    room = MOST - TOLD - sum(len(line) + 1 for line in head)
    shown = fitted(passages, room)
    lines = [line for passage in passages if passage in shown for line in (*passage.lines(shown[passage]), "")]
    left = [passage.name for passage in passages if passage not in shown]
    end = [f"Too long for a comment: {first_of(left, 5)}; `--json` has all of it.", ""] if left else []
    return "\n".join([*head, *lines, *end])


def _passages(decision: Decision) -> Iterator[Passage]:
    """What decides first; what is only told gives way to it."""
    missing = [gate for gate in decision.gates if gate.standing == MISSING]
    yield _list("Missing", (f"{_md(gate.pair)} {_md(gate.metric or NO_METRIC)}: {_why(gate)}" for gate in missing))
    broken = [gate for gate in decision.gates if gate.standing == BROKEN]
    yield _list("Not judged", (f"{_md(gate.pair)} {_md(gate.metric)}: {_why(gate)}" for gate in broken))
    judged = [gate for gate in decision.gates if gate.conclusion is not None]
    head = ["## Gates", "", markdown_row(HEADER), "|---|---|---|---:|---:|---|---|---|"]
    more = "| … {} more, in the output of `--json` |"
    yield Passage("Gates", head, [markdown_row(map(_cut, _cells(gate))) for gate in judged], more=more)
    whys = (f"{_md(gate.pair)} {_md(gate.metric)}: {gate.standing}: {_why(gate)}" for gate in judged)
    yield _list("Why", (line for gate, line in zip(judged, whys, strict=True) if _reason(gate)))
    yield _list("Flipped samples", (line for gate in judged if (line := _flips(gate))))
    yield _list("Alarms", (markdown(_cut(line, LONGEST_REASON)) for line in alarm_lines(decision.gates)))
    yield _list("Policy", (markdown(line) for line in _asked(decision.gates)))
    yield _list("Remarks", (markdown(_cut(line, LONGEST_REASON)) for line in decision.remarks))


def _list(title: str, lines: Iterable[str]) -> Passage:
    return Passage(title, [f"## {title}", ""], [f"- {line}" for line in lines], more="- … {} more")


def _cells(gate: JudgedMetric) -> tuple[str, ...]:
    told = gate.told
    before, after = (finite(told.get(name)) for name in ("before", "value"))
    return (
        gate.standing,
        gate.pair,
        gate.metric,
        "" if before is None else number(before),
        "" if after is None else number(after),
        _change(gate),
        _allowed(gate),
        basis_of(told),
    )


def _change(gate: JudgedMetric) -> str:
    return interval_words(gate.told, gate.better).removeprefix("change ").removeprefix("interval ")


def _allowed(gate: JudgedMetric) -> str:
    """``max_drop 0.01``, and its tier where that is not the usual one."""
    tier = "" if gate.tier == "supporting" else f", {gate.tier}"
    kind = gate.told.get("kind")
    return f"{kind} {margin_of(gate.told)}{tier}" if kind else tier.removeprefix(", ")


def _why(gate: JudgedMetric) -> str:
    return _md(_reason(gate), LONGEST_REASON)


def _reason(gate: JudgedMetric) -> str:
    """Why it stands as it does, where its interval does not say so; what passes needs no reason."""
    found = gate.conclusion
    if found is None or found.word == PASS:
        return gate.problem or ""
    return why_of({**gate.told, "why": found.why, "verdict": found.word})


def _flips(gate: JudgedMetric) -> str:
    flips = gate.flips
    if flips is None or not (flips.lost or flips.won):
        return ""
    ways = (("lost", flips.lost, flips.first_lost), ("won", flips.won, flips.first_won))
    told = [f"{word} {count:,}{_named(first, count)}" for word, count, first in ways if count]
    return f"{_md(gate.pair)} {_md(gate.metric)}: {'; '.join(told)}"


def _named(first: Sequence[str], count: int) -> str:
    more = f" and {counted(count - len(first), 'other')}" if count > len(first) else ""
    return f": {', '.join(_md(brief(name)) for name in first)}{more}" if first else ""


def alarm_lines(gates: Iterable[JudgedMetric]) -> list[str]:
    """What got worse beyond chance, suite by suite, though so many gates were looked at."""
    suites: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for gate in gates:
        if gate.conclusion is not None:
            told = {**gate.told, "metric": gate.metric, "tier": gate.tier}
            suites.setdefault(gate.pair.partition("/")[0], []).append((gate.pair, told))
    return [line for suite, found in suites.items() for line in alarms_of(suite, found).lines()]


def _asked(gates: Iterable[JudgedMetric]) -> Iterator[str]:
    """Each condition that was asked for, and of how many pairs."""
    counts = Counter(
        (gate.metric, _allowed(gate), finite(gate.told.get("confidence"))) for gate in gates if gate.metric
    )
    for (metric, allowed, confidence), count in sorted(counts.items(), key=lambda item: item[0][:2]):
        by = f" at {100 * confidence:g} %" if confidence is not None else ""
        yield _cut(f"{metric}: {allowed}{by}, of {counted(count, 'pair')}")


def decision_table(decision: Decision) -> tuple[list[tuple[str, ...]], int]:
    """The rows under ``SHORT_HEADER``, the worst first, and how many are left to the Markdown."""
    rows = [tuple(map(_cut, _row(gate))) for gate in decision.gates[:MOST_ROWS]]
    return rows, max(0, len(decision.gates) - MOST_ROWS)


def _row(gate: JudgedMetric) -> tuple[str, ...]:
    return gate.standing, gate.pair, gate.metric or NO_METRIC, _change(gate), _allowed(gate), _reason(gate)


def _md(text: str, most: int = LONGEST_CELL) -> str:
    return markdown(_cut(text, most))


def _cut(text: str, most: int = LONGEST_CELL) -> str:
    """One line, cut before anything is escaped, so that no escape is ever torn."""
    text = one_line(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
