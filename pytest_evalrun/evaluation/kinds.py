"""What kind of trouble an error is, in words of ours alone: why it came may quote a model, a program or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.errors import EvalrunError, TimedOut

if TYPE_CHECKING:
    from types import FrameType

HOUSE = "pytest_evalrun."
DIED = "a worker or a job that died"
TIME_OUT = "a time-out"
# Where in the house an error began, the nearest name first: rooms, modules, functions of modules.
PLACES = {
    "evaluation.score.check_failures": "samples that failed",
    "evaluation.steps.Steps.check_failures": "samples that failed",
    "evaluation.answers": "taking out answers",
    "evaluation.columns": "a metric",
    **dict.fromkeys(
        (
            "evaluation.gates",
            "evaluation.evidence",
            "evaluation.baselines",
            "evaluation.intervals",
            "evaluation.possible",
            "comparison",
        ),
        "a gate",
    ),
    "evaluation.summarybaseline": "a gate",
    "evaluation.judges": "a judge",
    "evaluation.judging": "a judge",
    "evaluation.score": "scoring",
    "evaluation.cuts": "shards",
    "evaluation.shardlife": "shards",
    "evaluation.shards": "shards",
    "adapters": "a model",
    "agents": "an agent or its task server",
    "children": "a model in a process of its own",
    "datasets": "data",
    "llm": "an endpoint",
    "metrics": "a metric",
    "predicting": "asking a model",
    "programs": "a program",
    "remote": "a board",
    "slots": "GPUs or devices",
}
ELSEWHERE = "an evaluation"
OF_A_TEST = "a test's own code"
LONGEST_NAME = 60


def kind_of(error: BaseException) -> str:
    """Where it began, and the class of what was raised there by code that is not ours: ``a model (RuntimeError)``."""
    if isinstance(error, TimedOut) or isinstance(error.__context__, TimedOut):
        return TIME_OUT
    cause = error.__cause__ if isinstance(error, EvalrunError) else error
    place = _place(error if cause is None else cause)
    if cause is None or isinstance(cause, EvalrunError):
        return place
    return f"{place} ({type(cause).__name__[:LONGEST_NAME]})"


def _place(error: BaseException) -> str:
    """The innermost place of ours that is known by name; without any of ours it is a test's."""
    trace, found = error.__traceback__, OF_A_TEST
    while trace is not None:
        if name := _name(trace.tb_frame):
            found = _called(name)
        trace = trace.tb_next
    return found


def _name(frame: FrameType) -> str | None:
    """``room.module.Class.function``; None where the code is not ours, or only runs that of others."""
    module = str(frame.f_globals.get("__name__", ""))
    if not module.startswith(HOUSE) or module.startswith(f"{HOUSE}plugin."):
        return None
    return f"{module.removeprefix(HOUSE)}.{frame.f_code.co_qualname}"


def _called(name: str) -> str:
    while name:
        if name in PLACES:
            return PLACES[name]
        name = name.rpartition(".")[0]
    return ELSEWHERE
