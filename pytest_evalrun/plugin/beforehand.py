"""What people are told before the first item: what there is to run on, odd words, and what gates can see."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.printable import counted, one_line
from pytest_evalrun.suite.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pytest_evalrun.comparison.beforehand import GatesBefore
    from pytest_evalrun.plugin.machine import Machine
    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.plugin.terminal import Terminal
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair

TITLE = "what gates can see, and how likely they PASS if nothing changed:"
# Gates are judged with results, which these modes do not make.
WITHOUT_GATES = ("infer", "viz")


def tell_before(terminal: Terminal, suites: Suites, machine: Machine, pairs: Collection[Pair]) -> None:
    """Say, before anything runs, what there is to run on, and which words may not do what they were written for."""
    from pytest_evalrun.suite.words import strange_words

    secrets = secrets_of(suites.found.values())
    notes = [note for suite in suites.found.values() for note in suite.notes]
    for line in (*machine.lines(), *notes, *strange_words(pairs)):
        terminal.line(secrets.blank(line))


def tell_gates(terminal: Terminal, suites: Suites, pairs: Iterable[Pair]) -> None:
    """Say in one block what gates can see of the selected pairs; not at ``-q``, and not again in each job."""
    options = suites.options
    if terminal.config.option.verbose < 0 or options.cluster.job is not None or options.mode in WITHOUT_GATES:
        return
    if lines := gate_lines(pairs, options):
        terminal.line(secrets_of(suites.found.values()).blank("\n".join(lines)))


def gate_lines(pairs: Iterable[Pair], options: Options) -> list[str]:
    """A title, and below it a line a gate; nothing where an interval decides none."""
    from pytest_evalrun.comparison.beforehand import gated_pairs, gates_before
    from pytest_evalrun.comparison.outlook import outlook_lines

    gated = {pair.whole.full_id: pair.whole for pair in gated_pairs(pairs)}
    if not gated:
        return []
    from pytest_evalrun.evaluation.knowncounts import KnownCounts
    from pytest_evalrun.rundir.layout import WorkDir

    workdir = WorkDir(options.workdir)
    with closing(KnownCounts(workdir.hashes)) as known:
        found = gates_before(gated.values(), workdir, _last_run(options), known.count)
    if not found.outlooks:
        return []
    return [_title(found), *(f"  {one_line(line)}" for line in outlook_lines(found.outlooks))]


def _title(found: GatesBefore) -> str:
    if not found.fatal:
        return TITLE
    will = "an ERROR before its model is loaded" if found.fatal == 1 else "ERRORs before their models are loaded"
    reused = "its result is" if found.fatal == 1 else "their results are"
    return f"{TITLE} {counted(found.fatal, 'pair')} will be {will}, unless {reused} reused"


def _last_run(options: Options) -> RunPaths | None:
    """Where the last results are: in the run to carry on, or in the one before a new one."""
    from pytest_evalrun.evaluation.selection import existing_run

    try:
        return existing_run(options.workdir, options.run) or existing_run(options.workdir, "latest")
    except ConfigError:  # it is told where the run is opened
        return None
