"""Tests that need the extra ``hf``, which tox installs; nothing of them is kept, and the real hub is never asked."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Before the library is imported, which reads them once.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-home-")
os.environ["HF_HUB_OFFLINE"] = "1"
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
