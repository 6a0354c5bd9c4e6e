"""`batch_system` of a suite: how jobs are submitted to what has no engine of its own, and what may stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.problems import Problems, accepted, found
from pytest_evalrun.suite.template import names_in, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_evalrun.suite.pairs import Suite
    from pytest_evalrun.suite.suitefile import SuiteFile

# What a command may name; of the second it must name one.
COMMANDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "submit": (("name", "title", "script", "log", "directory", "gpus", "minutes", "seconds"), ("script",)),
    "status": (("ids", "id"), ()),
    "cancel": (("ids", "id"), ("ids", "id")),
}
# The groups of an expression; those before the bar it must have.
GROUPS = {"state": (("id", "state"), ("code", "node", "reason", "name")), "gone": (("id",), ())}
# What engines tell apart; a job that is not shown any more is none of these.
STATES = (
    "waiting",
    "running",
    "done",
    "failed",
    "preempted",
    "lost",
    "time limit",
    "out of memory",
    "cancelled",
)
PLACES = "places"


@dataclass(frozen=True)
class BatchSystem:
    """Commands as words with placeholders, expressions for what they print, and the state that a word of it means.

    ``places`` say where in a suite each key stands, for errors that only a running cluster brings.
    """

    submit: tuple[str, ...]
    status: tuple[str, ...]
    cancel: tuple[str, ...]
    state: re.Pattern[str]
    states: Mapping[str, str]
    id: re.Pattern[str] | None = None
    gone: re.Pattern[str] | None = None
    places: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> BatchSystem:
        """Read what ``batch_system_of`` gave."""
        patterns = {key: re.compile(values[key], re.MULTILINE) for key in ("state", "id", "gone") if key in values}
        submit, status, cancel = (tuple(words_of(values[key])) for key in COMMANDS)
        return cls(
            submit,
            status,
            cancel,
            patterns["state"],
            {word: state for state, words in values["states"].items() for word in words},
            patterns.get("id"),
            patterns.get("gone"),
            values.get(PLACES, {}),
        )

    def place(self, key: str) -> str:
        """``path:line: batch_system.key``."""
        return self.places.get(key) or f"batch_system.{key}"

    def meaning(self, state: str, code: int | None, reason: str) -> str | None:
        """Which of our states the cluster's word means; None for a word that the suite does not name.

        What also names the exit code (`F/-29`) or the first word of the reason (`EXIT/TERM_RUNLIMIT`) goes before.
        """
        first = reason.split(maxsplit=1)[0].rstrip(":;,.") if reason.strip() else ""
        asked = (f"{state}/{first}", f"{state}/{code}", state)
        return next((self.states[word] for word in asked if word in self.states), None)


def batch_system_of(suite: SuiteFile) -> dict[str, Any]:
    """Give the suite's `batch_system`, with the places of its keys; empty where it has none.

    Raises ConfigError with a line for each problem.
    """
    part = suite.part("batch_system")
    if part is None:
        return {}
    values, problems = part.values, Problems()
    for key in COMMANDS:
        _check_command(part.place(key), key, values[key], problems)
    for key, (needed, more) in GROUPS.items():
        if key in values:
            _check_groups(part.place(key), re.compile(values[key]), needed, more, problems)
    if "id" in values and not re.compile(values["id"]).groups:
        problems.add(f"{part.place('id')}: {found(values['id'])}, which has no group; accepted: one around the id")
    _check_states(part.place("states"), values["states"], problems)
    problems.raise_any()
    return {**values, PLACES: {key: part.place(key) for key in values}}


def _check_command(place: str, key: str, command: str, problems: Problems) -> None:
    known, needed = COMMANDS[key]
    try:
        words = words_of(command)
        names = [name for word in words for name in names_in(word)]
    except ConfigError as error:
        problems.add(f"{place}: {error}")
        return
    if not words or names_in(words[0]):
        problems.add(f"{place}: {found(command)}; accepted: a program and its arguments")
    for name in names:
        if name not in known:
            problems.add(f"{place}: found the unknown placeholder {{{name}}}; {accepted(name, known)}")
    if needed and not set(needed) & set(names):
        lacking = " or ".join(f"{{{name}}}" for name in needed)
        problems.add(f"{place}: {found(command)}, without {lacking}: it does not say which job is meant")


def _check_groups(
    place: str, pattern: re.Pattern[str], needed: tuple[str, ...], more: tuple[str, ...], problems: Problems
) -> None:
    named = pattern.groupindex
    for name in needed:
        if name not in named:
            problems.add(f"{place}: {found(pattern.pattern)}, without the group {name}; accepted: (?P<{name}>…) in it")
    for name in named:
        if name not in (*needed, *more):
            problems.add(f"{place}: found the unknown group {name}; {accepted(name, (*needed, *more))}")


def _check_states(place: str, states: Mapping[str, Any], problems: Problems) -> None:
    seen: dict[str, str] = {}
    for state, words in states.items():
        if state not in STATES:
            problems.add(f"{place}: found the unknown state {state!r}; {accepted(state, STATES)}")
        for word in words:
            if seen.setdefault(word, state) != state:
                problems.add(f"{place}: found {word!r} for both {seen[word]!r} and {state!r}; accepted: one of them")
    if not seen:
        problems.add(f"{place}: found no word for any state; accepted: some for {', '.join(STATES)}")


def agreed_in(suites: Iterable[Suite]) -> dict[str, Any]:
    """The `batch_system` that the suites of a launch agree in. Raises ConfigError where they do not, or say none."""
    stated = {suite.file: dict(suite.batch_system) for suite in suites if suite.batch_system}
    files = list(stated)
    if not files:
        raise ConfigError(
            "--eval-engine command: no suite says how jobs are submitted; accepted: `batch_system` in evalrun.yaml, "
            "with `submit`, `status` and `cancel`"
        )
    for other in files[1:]:
        if stated[other] != stated[files[0]]:
            raise ConfigError(
                f"{other}: batch_system: another one than that of {files[0]}, and a launch has one; accepted: the same "
                "in all its suites, from a file that they `import`"
            )
    return stated[files[0]]
