from __future__ import annotations

import signal
import sys
from pathlib import Path

import hypothesis

# packages.py, beside this file
sys.path.insert(0, str(Path(__file__).parent))

# How long an example takes says something about the machine, and nothing about a law.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# Under nohup, or in the background of a script, these are ignored, and every process that a test starts inherits that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
