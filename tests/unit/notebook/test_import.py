"""What ``import pytest_evalrun`` costs and offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pytest_evalrun as er

HEAVY = ("pandas", "numpy", "orjson", "yaml", "jinja2", "pydantic", "rich", "typer", "aiohttp", "pytest")


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    """pytest imports it in every project: pandas waits until somebody asks for a DataFrame."""
    ask = f"import sys, pytest_evalrun; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert said(ask) == "[]"


def test_finding_a_run_imports_no_pandas(hand):
    """Only its DataFrames do."""
    workdir = str(hand.paths.root.parent)
    found = f"import sys, pytest_evalrun as er; run = er.load(workdir={workdir!r})"
    code = f"{found}; repr(run); print('pandas' in sys.modules)"
    assert said(code) == "False"
    assert said(code.replace("repr(run)", "run.results")) == "True"


def test_what_it_offers_can_be_completed():
    """A notebook's tab shows load and Run; anything else is no name of it."""
    assert dir(er) == sorted(er.__all__) == ["Run", "load"]
    assert er.load.__module__ == er.Run.__module__ == "pytest_evalrun.notebook.run"
    with pytest.raises(AttributeError, match="module 'pytest_evalrun' has no attribute 'laod'"):
        _ = er.laod


def test_everything_is_described():
    """What help() and an editor show of a run."""
    public = {name: part for name, part in vars(er.Run).items() if not name.startswith("_")}
    assert {"pairs", "results", "samples", "history", "events", "diff", "to_parquet"} <= public.keys()
    assert [name for name, part in public.items() if name != "path" and not part.__doc__] == []
