"""``engine/<unit>/<attempt>/job.json``: all that a job must know, written by the launch before it is submitted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import json_document, read_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1


@dataclass(frozen=True)
class JobItem:
    """An item of a unit: ``pair`` is the full id of the pair that it is about, ``digest`` that of its settings."""

    id: str
    pair: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class JobFile:
    """What a job runs, where, and by whom it was wanted.

    ``run`` is the directory of the run, ``sources`` those with lines that may be taken over, the best first;
    ``plugin`` and ``python`` (3.11) are versions that must agree; ``arguments`` are words of pytest that are handed on
    (`-p`, `-W`, `-o`), ``options`` values of ours by their ``dest``, ``environment`` variables that are settings,
    ``secrets`` the names of variables that the unit needs.
    """

    run: str
    unit: str
    attempt: int
    rootdir: str
    inifile: str | None
    items: tuple[JobItem, ...]
    plugin: str
    python: str
    sources: tuple[str, ...] = ()
    workers: int = 1
    arguments: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        write_atomic(path, json_document({"format": FORMAT, **asdict(self)}))

    @classmethod
    def read(cls, path: Path) -> JobFile:
        """Raises ConfigError where there is none, or one that was edited."""
        try:
            content = parse_json(read_file(path))
            if content.pop("format") != FORMAT:
                raise ValueError("written by another version")  # noqa: TRY301 - told as every other flaw
            items = tuple(JobItem(**item) for item in content.pop("items"))
            content |= {name: tuple(content[name]) for name in ("sources", "arguments", "secrets")}
            return cls(items=items, **content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{path}: {reason}; the launch writes it, and nobody edits it") from None
