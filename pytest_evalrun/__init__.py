"""Model evaluation as tests: every model x dataset pair is a pytest item.

What was evaluated is there as DataFrames, in a notebook or anywhere::

    import pytest_evalrun as er

    run = er.load("latest")
    run.results
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Run", "load"]

if TYPE_CHECKING:
    from pytest_evalrun.notebook.run import Run, load
else:  # where it is seen, every name would seem to be one

    def __getattr__(name: str) -> Any:
        """``load`` and ``Run`` are imported when they are asked for: pytest imports this package wherever it starts."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pytest_evalrun.notebook import run

        return getattr(run, name)


def __dir__() -> list[str]:
    return [*__all__]
