"""Discovered suites as one JSON text: what one process found, all others read. Nothing is written twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Cut, Dataset, Pair, Suite, Task

if TYPE_CHECKING:
    from collections.abc import Sequence


def dump(suites: Sequence[Suite]) -> str:
    """Write the frozen list. Ids never depend on who discovered."""
    return json.dumps([_to_json(suite) for suite in suites], ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> list[Suite]:
    """Read what :func:`dump` wrote; neither yaml nor pydantic is imported."""
    return [_from_json(values) for values in parse_json(text)]


def published_name(file: str) -> str:
    """Name the file that holds what was found of an evalrun.yaml."""
    return f"suite-{hashlib.sha256(file.encode()).hexdigest()[:24]}.json"


def handed_on(suite: Suite) -> str:
    """Write a suite for processes of other hosts, with the digests of all files that its settings come from."""
    sources = {suite.file, *(layer.source for pair in suite.pairs for layer in pair.layers)}
    digests = {source: _digest(source) for source in sorted(sources) if Path(source).is_file()}
    return json.dumps({"file": suite.file, "sources": digests, "suite": dump([suite])})


def handed(path: Path, file: str) -> str | None:
    """Read what was handed on of a suite; None where there is nothing, or its files are others here or by now."""
    try:
        text = path.read_text(encoding="utf-8")
        content = parse_json(text)
        same = content["file"] == file and all(_digest(source) == it for source, it in content["sources"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return text if same else None


def _digest(source: str) -> str:
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()


class _Table:
    """Objects by identity, each listed once."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[int, int] = {}

    def place(self, item: Any) -> int:
        if id(item) not in self._places:
            self._places[id(item)] = len(self.items)
            self.items.append(item)
        return self._places[id(item)]


def _to_json(suite: Suite) -> dict[str, Any]:
    all_layers, all_tasks, all_datasets = _Table(), _Table(), _Table()
    tags: dict[tuple[str, ...], int] = {}
    pairs = [
        [
            all_tasks.place(pair.task),
            all_datasets.place(pair.dataset),
            [all_layers.place(layer) for layer in pair.layers],
            tags.setdefault(pair.tags, len(tags)),
            pair.skip,
            pair.cuts,
        ]
        for pair in suite.pairs
    ]
    return {
        "name": suite.name,
        "file": suite.file,
        "root": suite.root,
        "protected": suite.protected,
        "has_adapter": suite.has_adapter,
        "run_name": suite.run_name,
        "notes": suite.notes,
        "batch_system": suite.batch_system,
        "layers": [[layer.kind, layer.source, layer.values, layer.lines] for layer in all_layers.items],
        "tasks": [[task.name, task.path, task.directory, task.prompt] for task in all_tasks.items],
        "datasets": [[dataset.name, dataset.path] for dataset in all_datasets.items],
        "tags": list(tags),
        "pairs": pairs,
    }


def _from_json(values: dict[str, Any]) -> Suite:
    name, root = values["name"], values["root"]
    layers = [Layer(*fields) for fields in values["layers"]]
    tasks = [Task(*fields) for fields in values["tasks"]]
    datasets = [Dataset(*fields) for fields in values["datasets"]]
    tags = [tuple(words) for words in values["tags"]]
    pairs = tuple(
        [
            Pair(
                name,
                root,
                tasks[task],
                datasets[dataset],
                tuple([layers[i] for i in stack]),
                tags[words],
                skip,
                tuple([Cut(*cut) for cut in cuts]) if cuts else (),
            )
            for task, dataset, stack, words, skip, cuts in values["pairs"]
        ]
    )
    more = values["has_adapter"], values["run_name"], tuple(values["notes"]), values["batch_system"]
    return Suite(name, values["file"], root, pairs, tuple(values["protected"]), *more)
