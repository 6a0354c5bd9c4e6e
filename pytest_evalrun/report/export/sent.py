"""What the model of a pair was sent, put beside its answers; what the suite says today must be what was sent then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.report.export.chosen import SentSample, Sources
    from pytest_evalrun.report.records import SampleRecord


class SentBeside:
    """Goes through the samples of a pair once, in dataset order, as its records do."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._samples: Iterator[tuple[int, SentSample]] | None = None
        self._sample: SentSample | None = None
        self._index = -1
        self._others = 0
        self._problem: str | None = None
        if sources.sent is not None:
            self._samples = enumerate(sources.sent())

    def of(self, record: SampleRecord) -> tuple[list[dict[str, Any]] | str | None, SampleRecord]:
        """What was sent for an answer, None where nobody knows; and the answer without what must not be seen."""
        secrets = self._sources.secrets
        if secrets and record.inputs:
            record = record._replace(inputs=secrets.fields(dict(record.inputs)))
        sample = self._at(record.index)
        if sample is None or sample.id != record.id or sample.content is None:
            return None, record
        told = record.detail.get("digest")
        if told is not None and sample.digest is not None and told != sample.digest(record.generation or 0):
            self._others += 1
            return None, record
        return secrets.fields(sample.content), record

    def remarks(self) -> list[str]:
        """What somebody should know who looks at the samples."""
        found = []
        if self._others:
            answers = counted(self._others, "answer")
            found.append(f"the prompts of {answers} are left out: the suite would send something else today")
        reasons = [self._sources.problem, *self._sources.inputs.problems, self._problem]
        return found + [f"not all inputs are there: {reason}" for reason in dict.fromkeys(reasons) if reason]

    def _at(self, index: int) -> SentSample | None:
        while self._samples is not None and self._index < index:
            try:
                self._index, self._sample = next(self._samples)
            except StopIteration:
                self._samples = None
            except (EvalrunError, OSError) as error:
                self._problem, self._samples = str(error), None
        return self._sample if self._index == index else None
