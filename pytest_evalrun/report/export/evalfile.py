"""A run in Inspect's format: one ``.eval`` file a pair, a ZIP archive of JSON, written sample by sample."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from contextlib import suppress
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Self
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from pytest_evalrun.report.export.chosen import RIGHT_OR_WRONG
from pytest_evalrun.report.export.evalheader import SAMPLE_IDS, header
from pytest_evalrun.report.export.evalsamples import SampleMaker, dumped
from pytest_evalrun.report.export.sent import SentBeside
from pytest_evalrun.report.records import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.report.export.chosen import ChosenPair, Sources, SourcesOf
    from pytest_evalrun.report.export.target import ExportTarget

KIND = "inspect"
SUFFIX = ".eval"
_BLOCK = 1 << 16
_COUNTED = ("input_tokens", "output_tokens", "total_tokens", "input_tokens_cache_read", "total_cost")


def export_inspect(
    pairs: Sequence[ChosenPair], run: str, target: ExportTarget, sources: SourcesOf
) -> Iterator[tuple[Path, list[str]]]:
    """Write a file for each pair; yields its path, and what of it is not as one might think.

    Raises ConfigError before anything is written where somebody else's file is in the way.
    """
    paths = target.claim(_name(pair) for pair in pairs)
    for pair, path in zip(pairs, paths, strict=True):
        yield path, write_eval(path, pair, run, sources(pair.known))
    target.close()


def _name(pair: ChosenPair) -> tuple[str, ...]:
    key = pair.known.key
    return key.suite, key.task, f"{key.dataset}{SUFFIX}"


def write_eval(path: Path, pair: ChosenPair, run: str, sources: Sources) -> list[str]:
    """Write the log of one pair in one step; returns what is to be said of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            remarks = _Log(file, pair, run, sources).write()
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    return remarks


class _Log:
    """The archive while it is being written. In memory is one sample at a time, and the archive's own directory."""

    def __init__(self, file: IO[bytes], pair: ChosenPair, run: str, sources: Sources) -> None:
        self._archive = ZipFile(file, "w", ZIP_DEFLATED, compresslevel=6)
        self._pair = pair
        self._run = run
        self._sources = sources
        self._counts: Counter[str] = Counter()
        self._usage: dict[str, Any] = {}

    def write(self) -> list[str]:
        pair, sources = self._pair, self._sources
        asked, maker = SentBeside(sources), self._maker()
        with self._archive, _SpooledList() as summaries, _SpooledList() as ids:
            last = -1
            for record in records(pair.files, sources.inputs, pair.fingerprint):
                said, record = asked.of(record)
                sample = maker.whole(record, said)
                self._count(sample)
                self._add(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", [dumped(sample)])
                summaries.add(maker.thin(sample))
                if record.index != last:
                    ids.add(sample["id"])
                last = record.index
            self._add("summaries.json", summaries.pieces())
            told = dumped(header(pair, self._run, self._counts, self._usage))
            head, _, rest = told.partition(dumped(SAMPLE_IDS))
            self._add("header.json", chain([head], ids.pieces(), [rest]))
        return asked.remarks()

    def _maker(self) -> SampleMaker:
        pair = self._pair
        usage = pair.result.usage if pair.result is not None else None
        currency = usage.get("currency") if usage else None
        binary = frozenset(name for name in pair.metrics if pair.uses(name) in RIGHT_OR_WRONG)
        embed = self._sources.embed
        return SampleMaker(self._run, pair.known.full_id, pair.known.task, currency, binary, embed)

    def _count(self, sample: dict[str, Any]) -> None:
        self._counts["answers"] += 1
        self._counts["failed"] += "error" in sample
        self._counts.update(f"scored:{name}" for name, one in sample["scores"].items() if one["value"] == one["value"])
        for usage in sample["model_usage"].values():
            for name in _COUNTED:
                if name in usage:
                    self._usage[name] = self._usage.get(name, 0) + usage[name]

    def _add(self, name: str, pieces: Iterable[bytes]) -> None:
        with self._archive.open(_entry(name), "w", force_zip64=True) as entry:
            for piece in pieces:
                entry.write(piece)


class _SpooledList:
    """A list of JSON that grows on disk."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block that uses the list

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, value: Any) -> None:
        self._file.write(b"," if self._file.tell() else b"[")
        self._file.write(dumped(value))

    def pieces(self) -> Iterator[bytes]:
        """The whole list, piece by piece; nothing is added afterwards."""
        self._file.write(b"]" if self._file.tell() else b"[]")
        self._file.seek(0)
        while piece := self._file.read(_BLOCK):
            yield piece


def _entry(name: str) -> ZipInfo:
    """An entry without a time of its own: the same run gives the same bytes."""
    entry = ZipInfo(name)
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
