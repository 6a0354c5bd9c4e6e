"""Files called evalrun.yaml that are no suites: other programs may call theirs so, too, and those are not ours."""

# ruff: noqa: PTH118, PTH120
# Paths are text here, as wherever suites are read.

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.problems import place, some

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Each of the first, and the others together, say that a file is a suite.
ALONE = ("adapter", "discover", "script", "assignment")
TOGETHER = ("models", "datasets")
MOST_KEYS = 8
MOST_READ = 1 << 20
# Keys as they stand at the left margin; JSON often indents by one.
_KEY = re.compile(rb"^[ {]?[\"']?([a-z_]+)[\"']?[ \t]*:", re.MULTILINE)


def is_suite(file: str) -> bool:
    """Tell whether there is a suite, right or wrong, in this file; False where there is no file."""
    return os.access(file, os.F_OK) and why_foreign(file) is None


def why_foreign(file: str) -> str | None:
    """Say why a file is no suite, in a line that begins with its place; None for a suite, a wrong one too.

    YAML beyond what a suite may hold (a tag, a second document, a list) is somebody else's unless its keys say that it
    was meant to be one; what is no YAML at all is for whoever reads it to complain about.
    """
    if _tells(_keys_at_a_glance(file)):
        return None
    from pytest_evalrun.suite.loading import NotPlainError, read_yaml

    try:
        values = read_yaml(file).values
    except NotPlainError as error:
        return str(error)
    except ConfigError:
        return None
    keys = {*values, *_imported(file, values, set())}
    return None if _tells(keys) else f"{place(file, None)}: {_lacking(keys)}"


def _tells(keys: Collection[str]) -> bool:
    return any(key in keys for key in ALONE) or all(key in keys for key in TOGETHER)


def _keys_at_a_glance(file: str) -> set[str]:
    """Read keys at the left margin: enough for nearly every suite, and quicker than to parse it twice."""
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(MOST_READ)
    except OSError:
        return set()
    return {key.decode() for key in _KEY.findall(content)}


def _imported(file: str, values: Mapping[str, Any], seen: set[str]) -> set[str]:
    """Collect the keys of what a file imports; all of ours where it cannot be followed: that is a suite's mistake."""
    from pytest_evalrun.suite.loading import read_yaml

    imports = values.get("import")
    names = [imports] if isinstance(imports, str) else imports
    keys: set[str] = set()
    for name in names if isinstance(names, list) else ():
        if not isinstance(name, str) or not name.endswith((".yaml", ".yml")):
            continue
        path = os.path.realpath(os.path.join(os.path.dirname(file), name))
        if path not in seen:
            seen.add(path)
            try:
                document = read_yaml(path)
            except ConfigError:
                return set(ALONE)
            keys |= {*document.values, *_imported(path, document.values, seen)}
    return keys


def _lacking(keys: Collection[str]) -> str:
    near = {word for key in keys for word in difflib.get_close_matches(key, (*ALONE, *TOGETHER), n=1, cutoff=0.75)}
    meant = f"did you mean {', '.join(map(repr, sorted(near - set(keys))))}? " if near - set(keys) else ""
    wanted = "adapter, discover, script or assignment, or both models and datasets"
    what = f"the keys {some(sorted(keys), MOST_KEYS)}" if keys else "no key"
    return f"found {what}; {meant}a suite has {wanted}"
