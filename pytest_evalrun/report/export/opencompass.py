"""A run as a work directory of OpenCompass: predictions, results, and what its summariser writes."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.export.chat import as_messages, plain_text, text_of
from pytest_evalrun.report.export.chosen import SHARES
from pytest_evalrun.report.export.opensummary import Summarised, summary_files
from pytest_evalrun.report.export.sent import SentBeside
from pytest_evalrun.report.records import records
from pytest_evalrun.rundir.durable import Replacement, write_atomic
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.report.export.chosen import ChosenPair, Sources, SourcesOf
    from pytest_evalrun.report.export.target import ExportTarget
    from pytest_evalrun.report.records import SampleRecord

KIND = "opencompass"
_ROLES = {"system": "SYSTEM", "user": "HUMAN", "assistant": "BOT"}
_EVALUATED = frozenset({"passed", "failed"})
_TIME = re.compile(r"[0-9]{8}_[0-9]{6}")


def export_opencompass(
    pairs: Sequence[ChosenPair], run: str, target: ExportTarget, sources: SourcesOf
) -> Iterator[tuple[Path, list[str]]]:
    """Write a work directory, of several suites one each; yields the paths, and what is to be said of a pair.

    Raises ConfigError before anything is written where somebody else's file is in the way.
    """
    whole = [pair for pair in pairs if pair.result is not None]
    several = len({pair.known.suite for pair in whole}) > 1
    groups = _by_suite(whole)
    found = _TIME.match(run)
    time = found[0] if found else run
    names = {suite: _names(suite if several else None, group, time) for suite, group in groups.items()}
    paths = iter(target.claim(name for files in names.values() for name in files))
    if more := len(pairs) - len(whole):
        yield target.directory, [f"{counted(more, 'pair')} without a result left out"]
    for group in groups.values():
        table = []
        for pair in group:
            result = result_of(pair)
            if pair.known.status in _EVALUATED:
                path = next(paths)
                remarks = _write_pair(path, next(paths), pair, result, sources(pair.known))
                yield path, remarks
            else:
                write_atomic(next(paths), _dumped(result))
            table.append(Summarised(pair.known.task, _abbr(pair), _version(pair), result))
        for text in summary_files(table, time):
            path = next(paths)
            write_atomic(path, text)
            yield path, []
    target.close()


def _by_suite(pairs: Sequence[ChosenPair]) -> dict[str, list[ChosenPair]]:
    groups: dict[str, list[ChosenPair]] = {}
    for pair in pairs:
        groups.setdefault(pair.known.key.suite, []).append(pair)
    return groups


def _names(top: str | None, pairs: Sequence[ChosenPair], time: str) -> Iterator[tuple[str, ...]]:
    """The names of all files of a work directory, in the order in which they are written."""
    above = () if top is None else (top,)
    for pair in pairs:
        file = (pair.known.key.task, f"{pair.known.key.dataset}.json")
        if pair.known.status in _EVALUATED:
            yield (*above, "predictions", *file)
        yield (*above, "results", *file)
    for kind in ("txt", "csv", "md"):
        yield (*above, "summary", f"summary_{time}.{kind}")


def _abbr(pair: ChosenPair) -> str:
    """The dataset's name; that of an evaluation of first samples says so."""
    return pair.known.id.removeprefix(f"{pair.known.task}/")


def _version(pair: ChosenPair) -> str | None:
    """Six digits that change with the inputs, in the place of those of a prompt."""
    prediction = pair.result.fingerprint.get("prediction") if pair.result is not None else None
    inputs = prediction.get("inputs") if isinstance(prediction, dict) else None
    return inputs[:6] if isinstance(inputs, str) else None


def result_of(pair: ChosenPair) -> dict[str, Any]:
    """What the summariser reads: values of metrics, shares as per cent; of a pair that is none, the reason."""
    if pair.known.status not in _EVALUATED:
        row = pair.known.row
        return {"error": (row.error or row.skipped if row is not None else None) or pair.known.status}
    found: dict[str, Any] = {}
    for name, metric in pair.metrics.items():
        value = metric["value"]
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value * 100 if pair.uses(name) in SHARES else value
    return found


def _write_pair(path: Path, results: Path, pair: ChosenPair, result: dict[str, Any], sources: Sources) -> list[str]:
    """The predictions, and the result with its details, in one pass over the samples."""
    beside, counts = SentBeside(sources), Counter[str]()
    predictions, details = _Written(path), _Written(results)
    try:
        predictions.begin({})
        details.begin(result, "details", {"type": "GEN"})
        for record in records(pair.files, sources.inputs, pair.fingerprint):
            said, record = beside.of(record)
            place = str(record.index * pair.generations + (record.generation or 0))
            prompt = _prompt(record, said)
            counts["failed"] += record.failed
            predictions.entry(place, _prediction(record, prompt))
            details.entry(place, _detail(record, prompt))
        predictions.end()
        details.end()
    except BaseException:
        predictions.drop()
        details.drop()
        raise
    failed = counted(counts["failed"], "failed sample")
    told = [f"{failed} there as an empty prediction, with the error beside it"] if counts["failed"] else []
    return told + beside.remarks()


def _prompt(record: SampleRecord, said: Any) -> str | list[dict[str, str]]:
    history = record.detail.get("history")
    talk = history if isinstance(history, list) else said if isinstance(said, list) else None
    if talk is not None:
        messages = as_messages(talk)
        return [
            {"role": _ROLES.get(one["role"], one["role"].upper()), "prompt": plain_text(one["content"])}
            for one in messages
        ]
    if isinstance(said, str):
        return said
    if len(record.inputs) == 1:
        return text_of(next(iter(record.inputs.values())))
    return "\n".join(f"{name}: {text_of(value)}" for name, value in record.inputs.items())


def _answered(record: SampleRecord) -> str:
    file = file_of(record.prediction)
    return "" if record.failed else text_of(record.prediction) if file is None else file


def _prediction(record: SampleRecord, prompt: Any) -> dict[str, Any]:
    told = {"origin_prompt": prompt, "prediction": _answered(record)}
    told |= {} if record.reference is None else {"gold": record.reference}
    return told | ({"error": record.error} if record.failed else {})


def _detail(record: SampleRecord, prompt: Any) -> dict[str, Any]:
    answer = _answered(record) if record.answer is None else text_of(record.answer)
    told: dict[str, Any] = {"prompt": prompt, "origin_prediction": _answered(record), "predictions": answer}
    told["references"] = text_of(record.reference)
    scores = {name: score for name, score in record.scores.items() if score is not None}
    return told | ({"scores": scores} if scores else {})


class _Written:
    """A JSON object that grows entry by entry, as ``json.dump(…, indent=4)`` would have written it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = Replacement(str(path))
        self._depth = 0
        self._empty = True

    def begin(self, head: dict[str, Any], key: str | None = None, inner: dict[str, Any] | None = None) -> None:
        """Write what is known already; with a ``key``, what follows is below that."""
        self._file.write("{")
        self._depth = 1
        for name, value in head.items():
            self.entry(name, value)
        if key is not None:
            self._write(f"{json.dumps(key)}: {{")
            self._depth, self._empty = 2, True
            for name, value in (inner or {}).items():
                self.entry(name, value)

    def entry(self, name: str, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=4, default=str)
        self._write(f"{json.dumps(name, ensure_ascii=False)}: {text}")

    def _write(self, text: str) -> None:
        indent = "    " * self._depth
        lines = text.replace("\n", f"\n{indent}")  # line ends in texts are escapes
        self._file.write(f"{'' if self._empty else ','}\n{indent}{lines}")
        self._empty = False

    def end(self) -> None:
        for depth in range(self._depth - 1, -1, -1):
            self._file.write("}" if self._empty else "\n" + "    " * depth + "}")
            self._empty = False
        self._file.put()

    def drop(self) -> None:
        self._file.drop()


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=4)
