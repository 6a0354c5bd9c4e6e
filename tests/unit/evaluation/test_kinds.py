"""What kind of trouble an error is: by where it began and its class, never by what it says."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import PairError, TimedOut
from pytest_evalrun.evaluation.kinds import HOUSE, OF_A_TEST, PLACES, TIME_OUT, kind_of


def raised(error, module=None, name="f", cause=None):
    """The error as it is caught, raised in a function of a module that is called so."""
    code = f"def {name}(error, cause):\n    raise error from cause\n"
    space = {"__name__": module or __name__}
    exec(compile(code, "file.py", "exec"), space)
    with pytest.raises(BaseException) as caught:
        space[name](error, cause)
    return caught.value


FOUND = {
    "a room": ("pytest_evalrun.datasets.tables", "f", "data"),
    "a module": ("pytest_evalrun.evaluation.gates", "f", "a gate"),
    "a function": ("pytest_evalrun.evaluation.score", "check_failures", "samples that failed"),
    "another of that module": ("pytest_evalrun.evaluation.score", "f", "scoring"),
    "a room without a name": ("pytest_evalrun.rundir.locks", "f", "an evaluation"),
    "what runs all": ("pytest_evalrun.plugin.worker", "f", OF_A_TEST),
    "others": ("somebody.else", "f", OF_A_TEST),
}


@pytest.mark.parametrize(("module", "name", "kind"), FOUND.values(), ids=FOUND)
def test_it_is_called_after_where_it_began(module, name, kind):
    """The nearest place that has a name."""
    assert kind_of(raised(PairError("SAID"), module, name)) == kind


def test_of_what_others_raised_the_class_is_told():
    """With the place in which we called them; of ours it says nothing more."""
    cause = raised(ValueError("SAID"), "pytest_evalrun.adapters.python")
    assert kind_of(raised(PairError("SAID"), "pytest_evalrun.evaluation.life", cause=cause)) == "a model (ValueError)"
    ours = raised(PairError("SAID"), "pytest_evalrun.llm.client")
    assert kind_of(raised(PairError("SAID"), "pytest_evalrun.evaluation.life", cause=ours)) == "an endpoint"
    assert kind_of(raised(ZeroDivisionError("SAID"))) == f"{OF_A_TEST} (ZeroDivisionError)"


def test_a_time_out_is_one():
    """However it is told."""
    assert kind_of(raised(TimedOut("after 3 s"))) == TIME_OUT
    limited = PairError("after 3 s")
    limited.__context__ = TimedOut("after 3 s")
    assert kind_of(raised(limited)) == TIME_OUT


def test_what_was_never_raised():
    """Has no place."""
    assert kind_of(PairError("SAID")) == OF_A_TEST


@pytest.mark.parametrize("place", PLACES)
def test_places_are_there(place):
    """Each is a room, a module, or a function in one."""
    from importlib import import_module

    parts = place.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(HOUSE + ".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return
    raise AssertionError(place)
