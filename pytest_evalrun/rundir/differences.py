"""What differs between two fingerprints, part by part, in words: why a pair runs again, and what changed since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Parts = Mapping[str, Any]

_encode = json.JSONEncoder(sort_keys=True).encode

LABELS = {
    "adapter": "adapter changed",
    "adapter_source": "adapter source changed",
    "adapter_version": "adapter version changed",
    "answer_rules": "answers are found by another rule",
    "api": "the way in which the endpoint is asked changed (api)",
    "cluster": "which samples belong together changed",
    "cells": "cells of CSV results are text now",
    "choices": "the column of options changed",
    "command": "command changed",
    "comparison": "values are compared by another rule",
    "endpoint": "endpoint changed",
    "env": "environment of the program changed",
    "generations": "generations changed",
    "identity": "identity version changed",
    "inputs": "dataset changed",
    "limit": "limit changed",
    "model": "model changed",
    "model_name": "name of the model at its endpoint changed",
    "output": "output settings changed",
    "pictures": "pictures of the dataset changed",
    "preprocess": "preprocessing changed",
    "references": "references changed",
    "serve": "program that serves the model changed",
}
# Parts that are mappings: what is named is which of their keys changed.
MAPPINGS = {
    "answer": "answer changed",
    "extra_body": "extra fields of requests changed",
    "metrics": "metrics changed",
    "params": "parameters changed",
    "prompt": "prompt changed",
    "sampling": "sampling changed",
    "settings": "settings of the adapter changed",
}


class KnownTrees(Protocol):
    """Directories by digests that they had once."""

    def changed_files(self, old_digest: str, new_digest: str) -> int | None:
        """Count the files that differ between two of them; None where one of the digests is not known."""


def difference(old: Parts, new: Parts, trees: KnownTrees) -> str | None:
    """The first part that differs, in words; None where nothing does."""
    return next(differences(old, new, trees), None)


def differences(old: Parts, new: Parts, trees: KnownTrees | None = None) -> Iterator[str]:
    """All parts that differ, in words; without ``trees`` of directories only that they do."""
    # Only programs get an environment; earlier versions counted it everywhere.
    names = {*old, *new} - ({"env"} if "command" not in new else set())
    for name in sorted(names, key=_weight):
        if not _same(old.get(name), new.get(name)):
            yield _words(name, old.get(name), new.get(name), trees)


def _same(old: Any, new: Any) -> bool:
    """As they are stored: to Python 1 and true are equal, and NaN differs from itself."""
    return old == new if type(old) is str else _encode(old) == _encode(new)


def _weight(name: str) -> tuple[bool, str]:
    """The identity version explains everything else, so it is named first."""
    return name != "identity", name


def _words(name: str, old: Any, new: Any, trees: KnownTrees | None) -> str:
    if name in ("inputs", "pictures"):
        return LABELS[name] + _file_count(old, new, trees)
    if name == "program" and isinstance(old, dict) and isinstance(new, dict):
        return f"program changed ({_changed_keys(old, new)})"
    if name in MAPPINGS:
        return f"{MAPPINGS[name]} ({_changed_keys(old, new)})"
    return LABELS.get(name, f"{name} changed")


def _file_count(old: Any, new: Any, trees: KnownTrees | None) -> str:
    count = trees.changed_files(old, new) if trees is not None and old and new else None
    return f" ({counted(count, 'file')})" if count else ""


def _changed_keys(old: Any, new: Any) -> str:
    old, new = old or {}, new or {}
    changed = sorted(key for key in {*old, *new} if not _same(old.get(key), new.get(key)))
    return ", ".join(_changed(key, old.get(key), new.get(key)) for key in changed)


def _changed(key: str, old: Any, new: Any) -> str:
    """A key that changed; examples of a prompt by their file where nothing but its content did."""
    if key != "fewshot":
        return key
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return "few-shot examples"
    return f"few-shot file {new['from']}" if old | {"content": new["content"]} == new else "few-shot examples"
