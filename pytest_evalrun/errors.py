"""What can go wrong, by who is to blame.

EvalrunError
├── ConfigError    the user's suite, option or file: a usage error of pytest, nothing runs
│   └── RunBusy    another session lives on the run directory
├── PairError      this pair cannot be evaluated: ERROR of its item, the others go on
└── SampleError    one sample cannot be read or predicted: recorded as a failed sample
TimedOut           raised into whatever an item is doing when its limit is reached
"""

from __future__ import annotations


class EvalrunError(Exception):
    """The root of everything this project raises on purpose; ``brief`` where the message does not begin with it."""

    def __init__(self, text: str = "", *, brief: str | None = None) -> None:
        super().__init__(text)
        self._brief = brief

    @property
    def brief(self) -> str:
        """What matters, for a line that may be cut at its end: a file that the message begins with by its name."""
        line = (self._brief or str(self)).partition("\n")[0]
        head, colon, rest = line.partition(": ")
        return f"{head.rpartition('/')[2]}{colon}{rest}" if head.startswith("/") else line


class ConfigError(EvalrunError):
    """The user's mistake; the message names file, line, key, value found and values accepted."""


class RunBusy(ConfigError):  # noqa: N818 - the state of a run, not an error of ours
    """A live session holds the run directory; the message names its PID and host."""


class PairError(EvalrunError):
    """One pair cannot be evaluated; retrying in this session would not help."""


class Lacking(PairError):  # noqa: N818 - what is the case
    """This machine has not what an optional pair needs: the pair is skipped."""


class SampleError(EvalrunError):
    """One sample cannot be read or predicted; the rest of its batch can."""


class TimedOut(BaseException):
    """An item has reached its limit; the message says which."""


class EvalrunWarning(UserWarning):
    """Something was repaired or looks odd; the evaluation goes on."""
