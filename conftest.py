"""What holds for every test of this repository."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

REQUIRE_ALL = bool(os.environ.get("EVALRUN_REQUIRE_ALL"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing of what is collected here is garbage: looking for it took a fifth of the time, in each worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where EVALRUN_REQUIRE_ALL is set, a test skipped for a missing component is a failure; see .ci/run."""
    report = yield
    tests = item.config.rootpath / "tests"
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail") and tests in item.path.parents:
        report.outcome = "failed"
        report.longrepr = f"EVALRUN_REQUIRE_ALL is set, and this test was skipped: {report.longreprtext}"
    return report
