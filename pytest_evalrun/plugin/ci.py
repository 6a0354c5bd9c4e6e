"""What continuous integration is told at the end of a launch: annotations, and the page of a job on GitHub.

Nothing where its variables are not set, and never anything that changes how the launch ends.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.reports import change_texts, outcome_of, reason_of
from pytest_evalrun.report.annotations import Annotation, annotation_lines
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.report.verdict import beside, verdict_of
from pytest_evalrun.rundir.durable import write_all
from pytest_evalrun.rundir.lines import open_plain, read_file
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.problems import line_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pytest_evalrun.plugin.controller import Controller
    from pytest_evalrun.report.gatewords import ToldGate
    from pytest_evalrun.report.rows import Summary
    from pytest_evalrun.suite.pairs import Pair

# GitHub refuses the page of a step that is longer than a mebibyte.
MOST_BYTES = 1 << 20
GATES = "gates"
# What GitHub's runner takes for a command of ours: `::` where a line begins, and `##[` anywhere.
_COMMAND = re.compile(r"^(?P<before>[^\S\n]*):(?=:)|##\[", re.MULTILINE)


class GithubPlugin:
    """In the launching process of a job on GitHub: hears which pairs end in an error, and speaks once, at the end."""

    def __init__(self, launching: Controller) -> None:
        self._launching = launching
        self._errors: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        pair = self._launching.pairs.get(report.nodeid)
        if pair is None:
            return
        change_texts(report, obeyed_by_nobody)  # of one that passed, too: -rP shows what it printed
        if getattr(report, "evalrun", {}).get("suite_item") and outcome_of(report) == "error":
            self._errors[pair.full_id] = reason_of(report, pair.full_id)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Of a session without tables, such as a job of an engine, there is nothing to tell."""
        live, summary = self._launching.live, self._launching.terminal.summary
        if live is None or summary is None:
            return
        terminalreporter.ensure_newline()
        for remark in tell_page(live.paths.summary / "summary.md", verdict_of(summary).line):
            terminalreporter.write_line(printable(f"evalrun: {remark}"))
        if os.environ.get("GITHUB_ACTIONS") == "true":
            files = {suite.name: str(suite.file) for suite in self._launching.suites.found.values()}
            pairs, root = self._launching.pairs.values(), terminalreporter.config.rootpath
            for line in github_lines(summary, pairs, self._errors, files, root):
                terminalreporter.write_line(line)


def obeyed_by_nobody(text: str) -> str:
    """The text with escapes for what GitHub's runner would obey: what a model says is no command of ours."""
    return _COMMAND.sub(lambda found: r"##\x5b" if found[0] == "##[" else rf"{found['before']}\x3a", text)


def github_lines(
    summary: Summary, pairs: Collection[Pair], errors: Mapping[str, str], suites: Mapping[str, str], root: Path
) -> Iterator[str]:
    """The annotations of a launch: ``errors`` (full id → reason), and the gates of ``pairs`` that are breached, then
    those that their intervals leave open, and advisory ones.

    ``suites``: name → file. Files are named as seen from the repository, which is ``$GITHUB_WORKSPACE`` or else what
    holds ``root``.
    """
    base = repository(root)
    named = {first_samples(pair.full_id, pair.peek("limit")): pair for pair in pairs if pair.full_id not in errors}
    rows = tuple(row for row in summary.rows if first_samples(row.pair, row.limit) in named)
    verdict = verdict_of(replace(summary, rows=rows, lacking={}, unreadable=()))
    found = [
        Annotation(f"ERROR: {name}", reason or "it ended in an error", _inside(base, suites.get(name.split("/")[0])))
        for name, reason in sorted(errors.items(), key=lambda error: natural_key(error[0]))
    ]
    found += [_of_gate("breached", gate, named[gate.pair], suites, base) for gate in verdict.breaches]
    yield from annotation_lines(found, "summary.md and the log of this step have all of them")
    # Of a breach it is told already that its interval leaves it open.
    for (name, gates), kind in zip(beside(verdict), ("warning", "notice"), strict=True):
        found = [_of_gate(name, gate, named[gate.pair], suites, base) for gate in gates]
        yield from annotation_lines(found, "summary.md has all of them", kind)


def _of_gate(word: str, gate: ToldGate, pair: Pair, suites: Mapping[str, str], base: Path) -> Annotation:
    """It stands where the gate is set: in the suite, in a file that it imports, or beside the data."""
    title = f"gate {word}: {gate.pair}"
    for layer in reversed(pair.layers):
        if gate.metric in _gates(layer.values) and Path(layer.source).is_file():
            line = line_of(layer, f"{GATES}.{gate.metric}.{gate.kind}")
            return Annotation(title, gate.explained, _inside(base, layer.source), line)
    return Annotation(title, gate.explained, _inside(base, suites.get(pair.suite)))


def _gates(values: Mapping[str, Any]) -> Mapping[str, Any]:
    gates = values.get(GATES)
    return gates if isinstance(gates, dict) else {}


def repository(root: Path) -> Path:
    """The directory that files in annotations are relative to."""
    if told := os.environ.get("GITHUB_WORKSPACE"):
        return Path(told).resolve()
    return next((place for place in (root, *root.parents) if (place / ".git").exists()), root).resolve()


def _inside(base: Path, file: str | None) -> str:
    """The file as seen from the repository; empty where it lies elsewhere."""
    path = Path(file).resolve() if file else base
    return path.relative_to(base).as_posix() if path != base and path.is_relative_to(base) else ""


def tell_page(summary_md: Path, verdict: str) -> Iterable[str]:
    """Append the summary to the page of this step, where GitHub has one; the verdict alone where all has no room.

    Says what was in the way: that is no reason for a run to fail.
    """
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if not page:
        return []
    try:
        text = read_file(summary_md).rstrip(b"\n") + b"\n\n"
        fd = open_plain(page, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            room = MOST_BYTES - os.fstat(fd).st_size
            whole = next((part for part in (text, f"{verdict}\n\n".encode()) if len(part) <= room), b"")
            write_all(fd, whole)
        finally:
            os.close(fd)
    except OSError as error:
        return [f"GITHUB_STEP_SUMMARY was not written: {error.filename or page}: {error.strerror}"]
    return [] if whole == text else ["GITHUB_STEP_SUMMARY has no room for the summary: a page has one mebibyte"]
