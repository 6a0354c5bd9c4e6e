"""A person sees a line a pair as it ends, then the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.plugin.internals import end_line, terminal_file, terminal_width
from pytest_evalrun.plugin.signals import outlast_terminal
from pytest_evalrun.suite.printable import counted, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pytest

    from pytest_evalrun.report.rows import Summary
    from pytest_evalrun.suite.pairs import Pair

MARKUP = {"passed": "green", "failed": "red", "error": "red", "skipped": "yellow"}
# Behind the value of a metric whose gate is INCONCLUSIVE.
UNSURE = "?"
WORDS = {"passed": "PASSED", "failed": "FAILED", "error": "ERROR", "skipped": "SKIPPED"}


class Terminal:
    """Speaks through pytest's terminal reporter; at ``-q`` pytest's own letters stay.

    Of ``summary`` the tables of ``suites`` are shown, by their names. ``selected`` are the full ids of this launch's
    pairs: where the run has others, its verdict is shown too, which pytest's counts do not say.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.summary: Summary | None = None
        self.suites: set[str] = set()
        self.selected: set[str] = set()
        self.remarks: list[str] = []

    def select(self, pairs: Iterable[Pair]) -> None:
        """Take note of the pairs of this launch."""
        for pair in pairs:
            self.suites.add(pair.suite)
            if not pair.is_shard:
                self.selected.add(pair.full_id)

    def outlast(self) -> None:
        """Let the session go on where its terminal is closed, and nobody hears it."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and terminal_file(reporter).isatty():
            outlast_terminal(reporter)

    def line(self, text: str) -> None:
        """A line of our own in the middle of the run."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            end_line(reporter)
            reporter.write_line(printable(f"evalrun: {text}"))

    def status(self, report: Any) -> tuple[str, str, Any] | None:
        """The category; the letter is left out where a whole line is shown, and ``-v`` shows the metrics."""
        told = getattr(report, "evalrun", None)
        if told is None or self.config.option.verbose < 0:
            return None
        outcome = "skipped" if report.skipped else "passed" if report.passed else "failed"
        if outcome == "failed" and report.when != "call":
            outcome = "error"
        if self.config.option.verbose == 0:
            return outcome, "", (WORDS[outcome], {MARKUP[outcome]: True})
        word = one_line(" ".join([WORDS[outcome], *_details(told)]))
        return outcome, WORDS[outcome][0], (word, {MARKUP[outcome]: True})

    def starts(self, nodeid: str) -> None:
        """pytest would begin every line with the suite's file, as if letters followed."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self.config.option.verbose == 0:
            reporter.currentfspath = self.config.rootpath / nodeid.partition("::")[0]

    def item(self, pair: Pair, outcome: str, told: dict[str, Any], note: str = "") -> None:
        """One line for a pair that ended, at normal verbosity; ``note`` says why there is no result."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or self.config.option.verbose != 0:
            return
        test = f"::{told['test']}" if told.get("test") else ""
        end_line(reporter)
        reporter.write(f"{WORDS[outcome]:7} ", **{MARKUP[outcome]: True})
        details = _details(told) if outcome in ("passed", "failed") else [note] if note else []
        reporter.write_line(one_line("  ".join([pair.full_id + test, *details])))

    def show(self, reporter: Any, run: Path | None) -> None:
        """The tables of what was selected, and where all of the run's are kept."""
        if self.summary is None and not self.remarks:
            return
        from pytest_evalrun.report.verdict import verdict_of
        from pytest_evalrun.rundir.layout import RunPaths

        reporter.section("evalrun")
        if self.summary is not None and self.config.option.verbose >= 0:
            for line in self._tables(self.summary, terminal_width(reporter)):
                reporter.write_line(line)
        if self.summary is not None and self.selected and not self.summary.ids <= self.selected:
            reporter.write_line(f"the whole run: {verdict_of(self.summary).line}")
        if run is not None:
            reporter.write_line(one_line(f"run: {_shown(run, self.config)}/"))
        if run is not None and self.summary is not None:
            paths = RunPaths(run)
            reporter.write_line(one_line(f"summary: {_shown(paths.summary / 'summary.md', self.config)}"))
            if paths.report.is_file():
                reporter.write_line(one_line(f"page: {_shown(paths.report, self.config)}"))
        for remark in self.remarks:
            reporter.write_line(printable(remark))

    def _tables(self, summary: Summary, width: int) -> Iterator[str]:
        """Of the suites that were selected: their tables, then which gates got worse for certain."""
        from pytest_evalrun.report.alarms import alarms_in
        from pytest_evalrun.report.plain import selected_lines

        yield from selected_lines(summary, self.suites, width)
        for alarms in alarms_in(summary.among(self.suites)):
            yield from map(one_line, alarms.lines())


def _details(told: dict[str, Any]) -> list[str]:
    unsure = told.get("unsure", ())
    parts = [
        f"{name}={_number(value)}{UNSURE if name in unsure else ''} [{_number(low)}, {_number(high)}]"
        for name, (value, low, high) in told.get("metrics", {}).items()
    ]
    if missed := told.get("advisory"):
        parts.append(f"(advisory: {', '.join(missed)})")
    if samples := told.get("samples"):
        total = counted(samples["total"], "sample")
        complete = samples["predicted"] == samples["total"]
        parts.append(total if complete else f"{samples['predicted']} of {total}")
    if ends := told.get("ends"):
        parts.append(f"({ends})")
    if told.get("seconds") is not None and not told.get("reused"):
        parts.append(f"{told['seconds']:.2f}s")
    if told.get("cost") and not told.get("reused"):
        parts.append(told["cost"])
    if reason := told.get("reason"):
        parts.append(f"({reason})")
    return parts


def _number(value: float) -> str:
    return f"{value:.4g}"


def _shown(path: Path, config: pytest.Config) -> str:
    """Relative to where the user stands, when it lies there."""
    base = config.invocation_params.dir
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
