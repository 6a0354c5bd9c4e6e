"""How the user's own class is made: what it is given, and what is told where that does not go well."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.errors import EvalrunError, PairError
from pytest_evalrun.suite.forks import UsersCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def check_arguments(ref: str, found: Callable[..., Any], arguments: Sequence[str], params: Mapping[str, Any]) -> None:
    """Raise PairError where a class or function does not take so many positional ``arguments`` and its parameters.

    Told before the call, so that a TypeError from inside the user's code is not mistaken for this.
    """
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # of compiled code
        return
    try:
        signature.bind(*arguments, **params)
    except TypeError as error:
        given = ", ".join([*arguments, *params]) or "nothing"
        raise PairError(f"{ref}{signature} does not fit what it is given ({given}): {error}") from None


def guarded(ref: str, what: str, call: Callable[[], Any]) -> Any:
    """Call the user's code. Raises PairError, with ``what`` and the user's own traceback as its cause."""
    try:
        with UsersCode():
            return call()
    except EvalrunError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        text = f"{ref} {what}: {cause}"
        raise PairError(text, brief=f"{what.replace('could not be', 'not')}: {cause}") from error


def done(call: Callable[[], Any]) -> None:
    """Call a method of the user's; of one that is a coroutine, wait until it is done where all others run."""
    with UsersCode():
        result = call()
    if inspect.iscoroutine(result):
        with Coroutines[Any]() as coroutines:
            coroutines.start(result).result()


def public(found: type) -> str:
    """What a class has, for whoever misses a method."""
    return ", ".join(sorted(name for name in dir(found) if not name.startswith("_"))) or "nothing public"
