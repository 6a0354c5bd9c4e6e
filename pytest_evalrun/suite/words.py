"""The words of a ``.run_config``: those that are settings, and what became of the others."""

from __future__ import annotations

import difflib
from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_evalrun.suite.layers import RUN_CONFIGS
from pytest_evalrun.suite.problems import line_of, place, some
from pytest_evalrun.suite.settings import MAPPINGS, NAMES, WHOLE, kind_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Pair

# Settings that fit into one line of text.
FLAT = NAMES - MAPPINGS - WHOLE
# Words that scripts and .run_config files have long used for something else.
OTHERS_WORDS = frozenset({"devices", "range"}) | {"task", "tasks", "controller", "task_concurrency", "takeover"}
# RUN_STATE_NAME: by which name a program that has one of its own writes its state.
SEED_ENV = ("REMOTE_TASK_HOME", "CLEANUP_REMOTE_WORKDIR", "CLEANUP_SHARED_MODELS", "RUN_STATE_NAME")
# Variables that are settings: those of old scripts, and all that begin like ours.
SEED_SETTINGS = ("MODEL_FILE_EXT", "IN_SUBDIR", "OUT_SUBDIR", "POST_PROCESS_PLUGIN", "MAX_BATCH_SIZE")
PREFIX = "EVALRUN_"

_ACCEPTED = frozenset(key.upper() for key in FLAT - OTHERS_WORDS) | {*SEED_ENV}
# What only evalrun.yaml can say: mappings, and what is looked for before any .run_config is read.
_IN_YAML = MAPPINGS | WHOLE | {"results", "model_file_ext"}
# Below this likeness a word is one of the program's own.
_NEAR = 0.75
MOST_LINES = 10


def may_be_setting(variable: str) -> bool:
    """Say whether a variable may be a setting; ``runconfig.variables_in`` says whether it is."""
    return variable.startswith(PREFIX) or variable in SEED_ENV or variable in SEED_SETTINGS


def strange_words(pairs: Iterable[Pair]) -> list[str]:
    """Lines that say which words of the pairs' ``.run_config`` files are no settings, and what became of them.

    One a word that looks like a slip of the pen; the others together.
    """
    lines: list[str] = []
    for what, words in _found(pairs).items():
        hints = {word: hint for word in words if (hint := _hint(word))}
        lines += [f"{_where(word, words[word])}: no setting; {what}; {hint}" for word, hint in hints.items()]
        if plain := [word for word in words if word not in hints]:
            first = _where(plain[0], words[plain[0]])
            others = f", {some(plain[1:], MOST_LINES)}" if plain[1:] else ""
            lines.append(f"{first}{others}: no {'settings' if others else 'setting'}; {what}")
    return [*lines[:MOST_LINES], *([f"and {len(lines) - MOST_LINES} more like these"] if lines[MOST_LINES:] else [])]


def _found(pairs: Iterable[Pair]) -> dict[str, dict[str, list[Layer]]]:
    """Sort words by what became of them: each with the layers that say it, in the order of the pairs."""
    found: dict[str, dict[str, list[Layer]]] = defaultdict(lambda: defaultdict(list))
    seen: set[tuple[int, str]] = set()
    for pair in pairs:
        for layer in pair.layers:
            if layer.kind in RUN_CONFIGS and "env" in layer.values:
                fate = kind_named(pair.peek("adapter")).other_words
                if (id(layer), fate) not in seen:
                    seen.add((id(layer), fate))
                    for word in layer.values["env"]:
                        if word not in SEED_ENV:
                            found[fate][word].append(layer)
    return found


def _where(word: str, layers: list[Layer]) -> str:
    more = f" (and in {len(layers) - 1} more)" if layers[1:] else ""
    return f"{place(layers[0].source, line_of(layers[0], f'env.{word}'))}: {word}{more}"


def _hint(word: str) -> str:
    if word.lower() in _IN_YAML:
        return f"`{word.lower()}` is for evalrun.yaml"
    near = difflib.get_close_matches(word.upper(), _ACCEPTED, n=1, cutoff=_NEAR)
    return f"did you mean {near[0]}?" if near else ""


__all__ = ["FLAT", "OTHERS_WORDS", "PREFIX", "SEED_ENV", "SEED_SETTINGS", "may_be_setting", "strange_words"]
