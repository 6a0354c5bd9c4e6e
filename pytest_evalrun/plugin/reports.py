"""The reports of an item carry builtins alone to where they are shown, or xdist would end the session."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.comparison.conclusion import FAIL, INCONCLUSIVE
from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.evaluation.deadline import STACKS
from pytest_evalrun.evaluation.kinds import DIED, kind_of
from pytest_evalrun.plugin.internals import is_of_pytest
from pytest_evalrun.rundir.results import ends
from pytest_evalrun.rundir.tasklist import Status
from pytest_evalrun.suite.gates import ADVISORY
from pytest_evalrun.suite.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_evalrun.evaluation.gates import GateVerdict
    from pytest_evalrun.evaluation.steps import Evaluation
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.secrets import Secrets


class Failure(pytest.fail.Exception):  # type: ignore[name-defined, misc]  # no name of it is public
    """A failure that is told without a traceback; ``brief`` is what matters of it, for pytest's short summary.

    ``kind`` says without words of others what kind of trouble it is; empty where it is none.
    """

    def __init__(self, text: str, brief: str, kind: str = "") -> None:
        super().__init__(text, pytrace=False)
        self.brief = brief
        self.kind = kind


def failure(error: EvalrunError) -> Failure:
    """The failure of a test whose fixture met with trouble."""
    return Failure(str(error), error.brief, kind_of(error))


def shorten(report: Any, error: BaseException) -> None:
    """pytest cuts the line of a failure at the terminal's width, so that begins with what matters, not with a type."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and isinstance(error, Failure | EvalrunError):
        crash.message = error.brief


def outcome_of(report: Any) -> str:
    """passed, failed (quality), error (infrastructure) or skipped."""
    if report.skipped:
        return "skipped"
    if report.passed:
        return "passed"
    return "failed" if report.when == "call" else "error"


def reason_of(report: Any, name: str) -> str:
    """Why the pair of this name failed or was skipped, in one line without the name; empty where it passed."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ").strip().removeprefix(f"{name}: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr or "")
    return text.strip().removeprefix("Failed: ").removeprefix(f"{name}: ").partition("\n")[0][:500]


def stands(outcome: str, told: dict[str, Any]) -> Status | None:
    """How the pair stands after an item; None where the item says nothing about that.

    A user's own function may fail, or be skipped, for reasons of its own: of it, only the evaluation that it asked
    for counts.
    """
    if told.get("shard"):
        return _stands_cut(outcome, told)
    if not told.get("evaluates", True) or told.get("quick_look"):
        return None
    if outcome == "skipped":
        return Status.PENDING if told.get("suite_item") else None
    of_its_own = "scored" in told and not told["suite_item"]
    if told["breached"] if of_its_own else outcome != "passed":
        return Status.FAILED
    if told.get("reused") and not told.get("scored"):  # inference alone, of which there was nothing left to do
        return None
    return Status.COMPLETED if told.get("scored") else Status.PENDING


def _stands_cut(outcome: str, told: dict[str, Any]) -> Status | None:
    """How the pair stands after a shard, unless its own item, which comes after all of them, says otherwise."""
    if outcome == "skipped" or told.get("quick_look") or told.get("reused"):
        return None
    return Status.PENDING if outcome == "passed" else Status.FAILED


def lost_report(item: pytest.Item, reason: str) -> pytest.TestReport:
    """The report of an item of which nobody will ever tell; of one about a pair :func:`make_crashed` says more."""
    return pytest.TestReport(item.nodeid, item.location, dict.fromkeys(item.keywords, 1), "failed", reason, "setup")


def make_crashed(report: Any, pair: Pair, reason: str, brief: str) -> None:
    """A crash is infrastructure trouble: pytest calls that ERROR when it happens at setup."""
    report.when = "setup"
    with pytest.raises(Failure) as caught:
        raise Failure(reason, brief)
    report.longrepr = caught.getrepr(style="value")
    shorten(report, caught.value)
    report.location = (*report.location[:2], report.nodeid.partition("::")[2])
    report.evalrun = {"pair": pair.full_id, "suite_item": True, "reason": reason, "kind": DIED}


def make_safe(report: Any, secrets: Secrets, *, colours: bool) -> None:
    """Every text of a report without secrets and safe to show; with ``colours`` those of pytest's own diffs stay."""

    def shown(text: str) -> str:
        return printable(secrets.blank(text), colours=colours)

    change_texts(report, shown)
    properties = report.user_properties
    report.user_properties = [(shown(str(name)), secrets.fields(value)) for name, value in properties]


def change_texts(report: Any, change: Callable[[str], str]) -> None:
    """Change all that pytest shows of a report: of its failure, and its sections."""
    report.longrepr = _changed(report.longrepr, change)
    report.sections = [(change(title), change(text)) for title, text in report.sections]


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Change what pytest shows of an exception: texts, in sequences and, in place, in objects of its own."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_changed(entry, change) for entry in value])
    if is_of_pytest(value):
        for name, entry in vars(value).items():
            setattr(value, name, _changed(entry, change))
    return value


def tell(
    pair: Pair, evaluation: Evaluation | None, *, worker: str, test: str | None, evaluates: bool
) -> dict[str, Any]:
    """The ``evalrun`` attribute of a report.

    ``test`` is the name of a user's own test function, None for an item of a suite; ``evaluates`` is False where that
    function takes the pair alone.
    """
    told: dict[str, Any] = {"pair": pair.full_id, "worker": worker, "suite_item": test is None, "test": test}
    told |= {"evaluates": evaluates, "limit": pair.peek("limit"), "shard": pair.is_shard}
    told["quick_look"] = pair.is_quick_look
    if evaluation is None:
        return told
    told |= {"reused": evaluation.reused, "reason": evaluation.reason, "scored": evaluation.result is not None}
    told |= {"breached": bool(evaluation.breached), "predicted": evaluation.predicted}
    if pair.positions is not None:
        told["samples"] = {"total": len(pair.positions), "predicted": evaluation.predicted}
        told["seconds"] = round(evaluation.seconds, 6)
    if evaluation.result is not None:
        brief = {name: [m["value"], m["low"], m["high"]] for name, m in evaluation.result.metrics.items()}
        # Through JSON: a subclass of float that a user's metric answered would not travel.
        told["metrics"] = json.loads(json.dumps(brief))
        told |= _told_of_gates(evaluation.verdicts)
        told["samples"] = dict(evaluation.result.samples)
        told["seconds"] = evaluation.result.seconds.get("total")
        if evaluation.result.statuses:
            told["ends"] = ends(evaluation.result.statuses)
        told |= _told_of_usage(evaluation.result.usage)
    return told


def _told_of_gates(verdicts: Sequence[GateVerdict]) -> dict[str, Any]:
    """Which metrics have a gate that is INCONCLUSIVE, and what is missed of what fails nothing; mostly nothing."""
    unsure = [verdict.metric for verdict in verdicts if verdict.verdict == INCONCLUSIVE and verdict.tier != ADVISORY]
    missed = [verdict.in_brief() for verdict in verdicts if verdict.verdict == FAIL and verdict.tier == ADVISORY]
    told = {"unsure": [*dict.fromkeys(unsure)], "advisory": missed}
    return {name: value for name, value in told.items() if value}


def _told_of_usage(usage: dict[str, Any] | None) -> dict[str, Any]:
    """What its answers cost, and which of them were cut off; of most models nothing."""
    if usage is None:
        return {}
    from pytest_evalrun.evaluation.usage import cost_of, cut_off

    told = {"cost": cost_of(usage), "cut_off": cut_off(usage)}
    return {name: value for name, value in told.items() if value}


TAIL_BYTES = 4096
MOST_SEARCHED = 1 << 20


def tail_of(path: Path, start: int) -> str:
    """Read what a log ends with since the byte ``start``; after a time-out, where each thread was.

    One that was shortened since then ends with nothing older either.
    """
    with path.open("rb") as file:
        file.seek(start := start if start <= path.stat().st_size else 0)
        _, stacks, found = file.read(MOST_SEARCHED).rpartition(STACKS)
        if stacks:
            return found[:TAIL_BYTES].decode(errors="replace")
        file.seek(max(start, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return file.read().decode(errors="replace")


def is_debugging(config: pytest.Config) -> bool:
    """Under a debugger nothing is redirected, so that its prompt is seen and answered."""
    asked = config.getoption("usepdb") or config.getoption("trace", False)
    return bool(asked) or "pydevd" in sys.modules


def echo(config: pytest.Config) -> int | None:
    """With ``-s`` a copy goes to the terminal; an xdist worker has only its stderr left for that."""
    if config.getoption("capture", "no") != "no":
        return None
    return 2 if hasattr(config, "workerinput") else 1
