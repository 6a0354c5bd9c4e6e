"""Allure's results of jobs come to where the launch was told to have them, one an item.

Allure listens where items run, so that steps and attachments are known there alone. Each job has it write beside its
reports; in the end the newest result of each item is taken, with what it names.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.enginepaths import AttemptPaths

RESULT, CONTAINER = "-result.json", "-container.json"


def allure_directory(attempt: AttemptPaths) -> Path:
    """What ``--alluredir`` is in a job."""
    return attempt.root / "allure"


def gather_allure(attempts: Iterable[AttemptPaths], target: Path) -> None:
    """Copy the newest result of each item, its attachments and those of its fixtures; done twice, it is the same.

    What was ended in the middle has no ``historyId`` yet, and is no result.
    """
    newest: dict[str, tuple[Path, dict[str, Any]]] = {}
    directories = [allure_directory(attempt) for attempt in attempts]
    for directory in directories:
        for path, result in _read(directory, RESULT):
            name = result.get("historyId")
            if name and (name not in newest or result.get("start", 0) > newest[name][1].get("start", 0)):
                newest[name] = path, result
    wanted = {str(result.get("uuid")) for _, result in newest.values()}
    for path, result in newest.values():
        _take(path, result, target)
    for directory in directories:
        for path, container in _read(directory, CONTAINER):
            if not wanted.isdisjoint(container.get("children", ())):
                _take(path, container, target)


def _read(directory: Path, ending: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(directory.glob(f"*{ending}")):
        try:
            content = parse_json(read_file(path))
        except (OSError, ValueError):
            continue  # a job was killed while it wrote
        if isinstance(content, dict):
            yield path, content


def _take(path: Path, content: Mapping[str, Any], target: Path) -> None:
    """What it names goes first."""
    target.mkdir(parents=True, exist_ok=True)
    for name in _sources(content):
        attachment = path.with_name(name)
        if "/" not in name and attachment.is_file():
            shutil.copyfile(attachment, target / name)
    write_atomic(target / path.name, read_file(path))


def _sources(content: Any) -> Iterator[str]:
    """Names of attachments, of steps within steps too."""
    if isinstance(content, list):
        for entry in content:
            yield from _sources(entry)
    elif isinstance(content, dict):
        if isinstance(source := content.get("source"), str):
            yield source
        for entry in content.values():
            yield from _sources(entry)
