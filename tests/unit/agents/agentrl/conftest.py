"""Tests with libraries that only an environment of tox has."""

from __future__ import annotations

import sys
from pathlib import Path

# questions.py, beside this file
sys.path.insert(0, str(Path(__file__).parent))
