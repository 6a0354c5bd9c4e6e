"""What a result was made with; a change is told, and never means new work by itself."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# What commonly changes results; absent ones are left out.
LIBRARIES = ("numpy", "onnxruntime", "scikit-image", "scikit-learn", "scipy", "tensorflow", "torch", "transformers")


@cache
def current() -> dict[str, Any]:
    """Python, platform, and the versions of the libraries that are installed."""
    return {"python": platform.python_version(), "platform": platform.platform(), "libraries": _libraries()}


def changes(old: dict[str, Any]) -> str | None:
    """In words: ``onnxruntime 1.20.0 became 1.21.0``; None where no library differs."""
    then, now = old.get("libraries", {}), current()["libraries"]
    changed = [
        f"{name} {then.get(name, '(none)')} became {now.get(name, '(none)')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    return ", ".join(changed) or None


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
