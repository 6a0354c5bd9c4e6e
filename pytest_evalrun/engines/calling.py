"""Programs of a cluster, called: each is started, whatever this machine lacks for a moment."""

from __future__ import annotations

import errno
import subprocess
import time
from typing import TYPE_CHECKING

from pytest_evalrun.engines.protocol import ClusterAway

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A program that could not be started for one of these has done nothing, and can be started a moment later: too many
# processes, too little memory, too many files, a program that is just being installed, a network drive that stumbles.
# EFAULT was seen once in 100,000 starts on a busy machine.
PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY, errno.ESTALE, errno.EFAULT})
TRIES = 5
PAUSE = 0.2


def call_program(
    words: Sequence[str],
    *,
    patience: float,
    text: str = "",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. A session of its own: Ctrl-C must not take a submit apart.

    Raises ClusterAway where it takes longer than ``patience`` seconds or this machine cannot start it now, another
    OSError where it is no program that can be started.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            return subprocess.run(  # noqa: S603 - a list of words, no shell
                words,
                input=text,
                cwd=cwd,
                env=env,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=patience,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ClusterAway(f"{words[0]} has not ended within {patience:g} s") from None
        except OSError as error:
            if error.errno not in PASSING:
                raise
            if not tries_left:
                raise ClusterAway(f"{words[0]} cannot be started here now: {error.strerror}") from None
            time.sleep(PAUSE)
    raise AssertionError("the last try has returned or raised")
