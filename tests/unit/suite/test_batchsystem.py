"""`batch_system` of a suite: what a schema cannot see is told with its place, and what is right is read."""

from __future__ import annotations

import pytest

from pytest_evalrun.engines.protocol import Phase
from pytest_evalrun.suite.batchsystem import STATES, BatchSystem

PAIR = "adapter: ./my.py:Model\nmodels: [{name: m}]\ndatasets: [{path: clean.csv}]\n"
GOOD = {
    "submit": "'qsub -N {name} -o {log} {script}'",
    "status": "'qstat {ids}'",
    "cancel": "'qdel {ids}'",
    "state": r"'^(?P<id>\d+) (?P<state>\w)'",
    "states": "{waiting: Q, running: 'R, E'}",
}
AT = "evals/evalrun.yaml:"
MISTAKES = {
    "open quote": ({"submit": '"qsub \'{script}"'}, [f'{AT}5: batch_system.submit: found "qsub \'{{script}}", which']),
    "unknown placeholder": (
        {"submit": "'qsub {scirpt}'"},
        [
            f"{AT}5: batch_system.submit: found the unknown placeholder {{scirpt}}; did you mean 'script'? accepted: ",
            f"{AT}5: batch_system.submit: found 'qsub {{scirpt}}', without {{script}}: it does not say which job is",
        ],
    ),
    "single brace": ({"status": "'qstat -f {'"}, [f"{AT}6: batch_system.status: found '{{'; accepted: {{NAME}}"]),
    "nothing cancelled": ({"cancel": "qdel"}, [f"{AT}7: batch_system.cancel: found 'qdel', without {{ids}} or {{id}}"]),
    "no program": ({"cancel": "'{ids}'"}, [f"{AT}7: batch_system.cancel: found '{{ids}}'; accepted: a program and"]),
    "blank": ({"status": "' '"}, [f"{AT}6: batch_system.status: found ' '; accepted: a program and its arguments"]),
    "state without its groups": (
        {"state": r"'(\d+) (\w)'"},
        [
            f"{AT}8: batch_system.state: found '(\\\\d+) (\\\\w)', without the group id; accepted: (?P<id>…) in it",
            f"{AT}8: batch_system.state: found '(\\\\d+) (\\\\w)', without the group state; accepted: (?P<state>…)",
        ],
    ),
    "unknown group": (
        {"state": r"'(?P<id>\d+) (?P<state>\w) (?P<nod>\w+)'"},
        [f"{AT}8: batch_system.state: found the unknown group nod; did you mean 'node'? accepted: code, id, name,"],
    ),
    "no expression": ({"state": "'('"}, [f"{AT}8: batch_system.state: found '('; accepted: a regular expression of"]),
    "no state": ({"state": None}, [f"{AT}4: batch_system.state: "]),
    "id without a group": (
        {"id": r"'\d+'"},
        [f"{AT}10: batch_system.id: found '\\\\d+', which has no group; accepted"],
    ),
    "gone without its group": (
        {"gone": r"'(\d+)'"},
        [f"{AT}10: batch_system.gone: found '(\\\\d+)', without the group id"],
    ),
    "unknown state": (
        {"states": "{runing: R}"},
        [f"{AT}9: batch_system.states: found the unknown state 'runing'; did you mean 'running'? accepted: cancelled,"],
    ),
    "a word for two states": (
        {"states": "{running: R, done: R}"},
        [f"{AT}9: batch_system.states: found 'R' for both 'running' and 'done'; accepted: one of them"],
    ),
    "no states": ({"states": "{}"}, [f"{AT}9: batch_system.states: found no word for any state; accepted: some for"]),
}


def written(suite, **changes):
    words = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return suite(PAIR + "batch_system:\n" + "".join(f"  {key}: {value}\n" for key, value in words.items()))


@pytest.mark.parametrize(("changes", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place(suite, changes, told):
    """File, line, key, what was found, what is accepted: one line a mistake."""
    problems = written(suite, **changes).problems()
    assert [line[: len(start)] for line, start in zip(problems, told, strict=True)] == told


def test_what_is_right_is_read(suite):
    """Commands become words, words of the cluster our states; places of keys come along for later errors."""
    found = written(suite).discover()
    system = BatchSystem.of(found.batch_system)
    assert system.submit == ("qsub", "-N", "{name}", "-o", "{log}", "{script}")
    assert system.states == {"Q": "waiting", "R": "running", "E": "running"}
    assert system.place("cancel") == "evals/evalrun.yaml:7: batch_system.cancel"
    assert [match["id"] for match in system.state.finditer("12 R\n13 Q\n")] == ["12", "13"]


def test_a_suite_without_one_has_none(suite):
    """Nothing is made up."""
    assert suite(PAIR).discover().batch_system == {}


@pytest.mark.parametrize(
    ("state", "code", "reason", "meaning"),
    [
        ("EXIT", 1, "", "failed"),
        ("EXIT", 137, "", "out of memory"),
        ("EXIT", 137, "TERM_RUNLIMIT: job killed after reaching LSF run time limit", "time limit"),
        ("EXIT", 1, "TERM_OTHER", "failed"),
        ("UNKWN", None, "", None),
    ],
    ids=["state", "with its code", "with its reason, which goes first", "reason without a word", "no word"],
)
def test_a_state_may_be_told_by_its_reason_or_code(suite, state, code, reason, meaning):
    """The more that a word names, the sooner it is taken."""
    states = "{failed: EXIT, time limit: EXIT/TERM_RUNLIMIT, out of memory: EXIT/137}"
    system = BatchSystem.of(written(suite, states=states).discover().batch_system)
    assert system.meaning(state, code, reason) == meaning


def test_states_are_those_of_engines():
    """All that an engine can say of a job has a word, but that it is gone."""
    assert {*STATES} == {phase.value for phase in Phase} - {Phase.GONE.value}
