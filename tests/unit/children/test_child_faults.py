"""Which errors may pass, wherever they happened."""

from __future__ import annotations

import traceback

import pytest

from pytest_evalrun.children.faults import ModelError, may_pass

ERRORS = [
    (OSError("disk"), True),
    (ConnectionResetError(), True),
    (TimeoutError(), True),
    (MemoryError(), True),
    (RuntimeError("CUDA out of memory"), True),
    (ModelError("OSError: disk", may_pass=True), True),
    (ModelError("RuntimeError: CUDA out of memory"), False),
    (FileNotFoundError(), False),
    (PermissionError(), False),
    (ValueError(), False),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_which_errors_may_pass(error, expected):
    """Bad luck may; a wrong path or a wrong value may not; of another process its own word counts."""
    assert may_pass(error) is expected


def test_the_traceback_of_another_process_is_shown():
    """As the cause of the error, line for line."""
    error = ModelError("ValueError: no", "Traceback (most recent call last):\n  File model.py, line 7")
    assert "  File model.py, line 7" in "".join(traceback.format_exception(error))
