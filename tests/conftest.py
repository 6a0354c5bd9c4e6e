from __future__ import annotations

import signal
import sys
from pathlib import Path

import hypothesis
import pytest

# packages.py, beside this file
sys.path.insert(0, str(Path(__file__).parent))

# How long an example takes says something about the machine, and nothing about a law.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# Under nohup, or in the background of a script, these are ignored, and every process that a test starts inherits that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def endpoints_directory(tmp_path_factory):
    """What is learned of a server on a free port is not known to a run of tomorrow, whose server has the same port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALRUN_ENDPOINTS_DIR", str(tmp_path_factory.mktemp("endpoints")))
        yield
