"""The errors of programs that the run started, and which errors of a model may pass."""

from __future__ import annotations

from pytest_evalrun.errors import EvalrunError, PairError

# These tell of a wrong path or right, not of bad luck: trying again cannot help.
PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)


class ChildError(PairError):
    """A program could not be started, or did not keep to the protocol; the message holds the end of its output."""


class ModelDied(ChildError):  # noqa: N818 - what happened; its base says that it is an error
    """The program ended before it answered; ``returncode`` is negative where a signal ended it."""

    def __init__(self, text: str, returncode: int | None = None, *, brief: str | None = None) -> None:
        super().__init__(text, brief=brief)
        self.returncode = returncode


class NotStarted(ModelDied):
    """The program never ran, by no fault of its own: its supervisor was killed, or something was short."""

    def __init__(self, name: str, reason: str, returncode: int) -> None:
        self.fate = f"was not started: {reason}"
        self.code = returncode
        super().__init__(f"{name}: the program {self.fate}", returncode)


class RemoteTraceback(Exception):  # noqa: N818 - shown as the cause of an error, never caught
    """A traceback of another process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class ModelError(EvalrunError):
    """An exception of a model in another process: its type and text, its traceback, and whether it may pass."""

    def __init__(self, text: str, traceback: str | None = None, *, may_pass: bool = False) -> None:
        super().__init__(text)
        self.traceback = traceback
        self.may_pass = may_pass
        if traceback:
            self.__cause__ = RemoteTraceback(traceback)


def may_pass(error: Exception) -> bool:
    """Say whether trying again may help: I/O, time-out, connection, out of memory."""
    if isinstance(error, ModelError):
        return error.may_pass
    if isinstance(error, PERMANENT):
        return False
    if isinstance(error, OSError | TimeoutError | MemoryError | EOFError):
        return True
    text = str(error).lower()  # CUDA and ONNX Runtime raise errors of their own for memory
    return "out of memory" in text or "failed to allocate" in text
