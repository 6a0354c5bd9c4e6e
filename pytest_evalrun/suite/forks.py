"""Processes that the user's code forks must not do our work once more: models fork, by multiprocessing for one.

Such a process has a copy of all that ours has. Its locks are closed by ``rundir.locks``. Here its signals become its
own again, and it ends where the user's code does: what comes after that is ours, and is done once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from _thread import start_new_thread
from threading import Thread, get_ident, main_thread
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

_taken: dict[Handlers, None] = {}
# Of the threads that fork at this moment: the signals that they held back before.
_forking: dict[int, set[int]] = {}
_late: list[int] = []
# What a handler raised last, and at which signal: not the error itself, for its frames hold all that was at work. And
# whom Python would tell what it drops.
_raised: list[tuple[int, int, type[BaseException], tuple[Any, ...]]] = []
_hooks: list[Callable[[sys.UnraisableHookArgs], object]] = []


class Handlers:
    """Handlers of signals, taken until ``give_back``; a forked child has those of before. Of the main thread only."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    @property
    def signals(self) -> Iterable[int]:
        return self._before.keys()

    def take(self, number: int, handler: Callable[[int, FrameType | None], object]) -> None:
        """Take each signal once; what another language handles stays as it is, for it could not be given back."""
        if (before := signal.getsignal(number)) is None:
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if get_ident() in _forking:
                _late.append(number)
            else:
                _raised_for_good(number, lambda: handler(number, frame))

        _taken[self] = None
        if sys.unraisablehook is not _raise_what_was_dropped:
            _hooks.append(sys.unraisablehook)
            sys.unraisablehook = _raise_what_was_dropped
        self._before[number] = before
        signal.signal(number, handle)

    def give_back(self) -> None:
        """A second time does nothing."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()
        _taken.pop(self, None)
        if not _taken and sys.unraisablehook is _raise_what_was_dropped:
            sys.unraisablehook = _hooks.pop()


def _raised_for_good(number: int, handle: Callable[[], object]) -> None:
    try:
        handle()
    except BaseException as error:
        _raised[:] = [(number, id(error), type(error), error.args)]
        raise


def _raise_what_was_dropped(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise again what a handler raised in a destructor, or where a generator was closed: Python drops it there.

    Nobody else would ever hear of the signal. It comes once more, in a moment, and raises the same.
    """
    error = unraisable.exc_value
    number, *which = _raised[0] if _raised else (0,)
    is_ours = error is not None and which == [id(error), type(error), error.args]
    if error is None or not is_ours or get_ident() != main_thread().ident:
        _hooks[-1](unraisable)
        return
    kind, args = type(error), error.args
    before = signal.getsignal(number)

    def raise_again(_number: int, frame: FrameType | None) -> None:
        if _is_telling(frame):
            _send_soon(number)
            return
        signal.signal(number, before)
        raise kind(*args)

    signal.signal(number, lambda *came: _raised_for_good(number, lambda: raise_again(*came)))
    _send_soon(number)


def _is_telling(frame: FrameType | None) -> bool:
    """Whether Python is still being told what it dropped: what is raised then, it drops once more, and tells nobody."""
    while frame is not None:
        if frame.f_code is _raise_what_was_dropped.__code__:
            return True
        frame = frame.f_back
    return False


def _send_soon(number: int) -> None:
    # A Thread would wait here until it runs.
    start_new_thread(_send, (number,))


def _send(number: int) -> None:
    time.sleep(0.001)
    os.kill(os.getpid(), number)


def _hold_back() -> None:
    """Hold signals back in a new process until it has its handlers: Python throws away what comes before."""
    if _taken:
        _forking[get_ident()] = set()
        numbers = {number for handlers in _taken for number in handlers.signals}
        _forking[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _go_on_in_child() -> None:
    for handlers in reversed(list(_taken)):
        handlers.give_back()
    _let_through()
    _forking.clear()
    _late.clear()


def _go_on_in_parent() -> None:
    """Python throws away, too, what is raised in here: what came meanwhile is handled when the fork is over."""
    _let_through()
    if _late:
        Thread(target=_tell_again, args=[get_ident()], daemon=True).start()
    _forking.pop(get_ident(), None)


def _let_through() -> None:
    if get_ident() in _forking:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking[get_ident()])


def _tell_again(thread: int) -> None:
    while thread in _forking:
        time.sleep(0.001)
    while _late:
        os.kill(os.getpid(), _late.pop(0))


os.register_at_fork(before=_hold_back, after_in_child=_go_on_in_child, after_in_parent=_go_on_in_parent)


class UsersCode:
    """Around a call of the user's code: a process forked in it that comes back from it ends here, as a program ends.

    It exits with what ``sys.exit`` was given, 1 after an exception, which is shown, and 0 otherwise.
    """

    __slots__ = ("_owner",)

    def __enter__(self) -> None:
        self._owner = os.getpid()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if os.getpid() != self._owner:
            _end(error)


def _end(error: BaseException | None) -> NoReturn:
    """End at once: what the process would do at its exit is ours to do."""
    code: Any = 0
    try:
        if isinstance(error, SystemExit):
            code = error.code or 0
            if not isinstance(code, int):
                sys.stderr.write(f"{code}\n")
        elif error is not None:
            import traceback

            code = 1
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF if isinstance(code, int) else 1)
