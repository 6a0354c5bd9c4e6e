"""Samples of a pair, a page at a time: any of 100,000 without the others in memory."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.monitor.follow import signature
from pytest_evalrun.monitor.web.choosing import SampleQuery, ScoreFacts, Searched, choose, flips_of, score_facts
from pytest_evalrun.monitor.web.door import NotShown
from pytest_evalrun.monitor.web.files import PICTURES
from pytest_evalrun.report.answerindex import AnswerIndex, LineIndex
from pytest_evalrun.report.html.parts import FilePlaces, Parts
from pytest_evalrun.report.html.pictures import Pictures, size_of
from pytest_evalrun.report.records import JudgesWords, record_of
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.samplelines import answer_of
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable
    from pathlib import Path

    from pytest_evalrun.monitor.follow import Signature
    from pytest_evalrun.monitor.web.found import FoundPair
    from pytest_evalrun.report.html.fragments import SampleSource
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.suite.secrets import Secrets

    Seen = tuple[Signature | None, ...]

PAGE_SIZE = 50
# What is remembered of all pairs together, in bytes; of the one that is looked at last there is always all.
MOST_REMEMBERED = 64 << 20
# A file that is written anew while it is read is read once more, and then somebody else may ask again.
_TRIES = 3
_HEAD = 1 << 16


@dataclass
class _Indexed:
    """A pair whose files were looked through, and what was chosen of it, as of one state of the files."""

    seen: Seen
    index: AnswerIndex
    facts: ScoreFacts
    before: LineIndex | None
    chosen: dict[SampleQuery, array[int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        before = self.before.size if self.before else 0
        return self.index.size + before + sum(8 * len(numbers) for numbers in self.chosen.values())


class LinkedPictures(Pictures):
    """Pictures that the page asks for where it shows them: whole, and none of them twice."""

    def __init__(self, link: Callable[[Path], str | None]) -> None:
        super().__init__()
        self._link = link

    def of_file(self, path: Path) -> dict[str, Any] | None:
        """The picture in a file, by a link."""
        link = self._link(path) if path.suffix.lower() in PICTURES else None
        try:
            with open_file(path) as file:
                head = file.read(_HEAD)
        except OSError:
            return None
        if link is None:
            return None
        width, height = size_of(head)
        return {"kind": "image", "src": link, "width": width, "height": height}


def fingerprint_of(pair: FoundPair) -> dict[str, Any]:
    """What the result of a pair depends on; nothing where it has none."""
    return pair.result.fingerprint if pair.result else {}


class SamplePages:
    """Pages of samples. ``sources`` knows the pairs by their suites, ``link`` makes addresses of files.

    ``before`` are the files of the same pair in the run that samples are compared with.
    ``secrets`` are blanked in what is shown. For one thread at a time.
    """

    def __init__(
        self,
        sources: Callable[[FoundPair], SampleSource],
        link: Callable[[Path], str | None],
        before: Callable[[FoundPair], PairPaths | None] = lambda _: None,
        secrets: Callable[[], Secrets] = lambda: NO_SECRETS,
    ) -> None:
        self._sources = sources
        self._link = link
        self._before = before
        self._secrets = secrets
        self._known: OrderedDict[str, _Indexed] = OrderedDict()

    def page(self, pair: FoundPair, query: SampleQuery, number: int) -> dict[str, Any]:
        """The page of this number, from 1; of one beyond the last, the last. Raises NotShown, or ConfigError."""
        if not pair.files.predictions.is_file():
            return {"total": 0, "page": 1, "pages": 1, "samples": []}
        for _ in range(_TRIES):
            try:
                return self._page(pair, query, number)
            except (ValueError, OSError):
                self._known.pop(pair.anchor, None)
        raise NotShown(503, f"{pair.id}: its files change too fast to be read; ask again")

    def _page(self, pair: FoundPair, query: SampleQuery, number: int) -> dict[str, Any]:
        sources = self._sources(pair)
        known = self._indexed(pair)
        if query not in known.chosen:
            searched = Searched(sources.inputs, JudgesWords(pair.files, fingerprint_of(pair)))
            known.chosen[query] = choose(known.index, query, known.facts, searched, known.before)
            self._forget(pair.anchor)
        numbers = known.chosen[query]
        pages = max(1, -(-len(numbers) // PAGE_SIZE))
        number = min(max(1, number), pages)
        shown = numbers[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        samples = self._records(pair, known, shown.tolist(), sources)
        return {"total": len(numbers), "page": number, "pages": pages, "samples": samples}

    def _records(
        self, pair: FoundPair, known: _Indexed, numbers: list[int], sources: SampleSource
    ) -> list[dict[str, Any]]:
        """Read in dataset order, which is that of the inputs and the judges, and put into the order that is shown."""
        told = JudgesWords(pair.files, fingerprint_of(pair))
        places = FilePlaces(sources.written or pair.files.outputs, sources.data, self._link)
        parts = Parts(places, self._secrets(), LinkedPictures(self._link))
        inputs, found = sources.inputs, {}
        ordered = sorted(numbers)
        numbered = zip(ordered, known.index.pairs(ordered), strict=True)
        for (number, (line, score)), value in inputs.paired(numbered, lambda item: item[1][0]):
            record = record_of(line, score, inputs.parts(value), told.of(line))
            found[number] = parts.record(record, self._flip(known, score))
        return [found[number] for number in numbers]

    @staticmethod
    def _flip(known: _Indexed, score: Any) -> dict[str, str]:
        if known.before is None or not score:
            return {}
        from contextlib import ExitStack

        with ExitStack() as stack:
            file = known.before.opened(stack)
            before = known.before.line(file, known.before.number_of(answer_of(score)))
        return flips_of(score, before, known.facts)

    def _indexed(self, pair: FoundPair) -> _Indexed:
        earlier = self._before(pair)
        before = earlier.scores if earlier is not None else None
        paths = [pair.files.predictions, pair.files.scores, pair.files.result, *([before] if before else [])]
        seen = tuple(map(signature, paths))
        known = self._known.get(pair.anchor)
        if known is None or known.seen != seen:
            index = AnswerIndex(LineIndex(pair.files.predictions), LineIndex(pair.files.scores))
            facts = score_facts(index.scores, pair.result.metrics if pair.result else {})
            known = _Indexed(seen, index, facts, LineIndex(before) if before and os.path.isfile(before) else None)  # noqa: PTH113
            self._known[pair.anchor] = known
        self._known.move_to_end(pair.anchor)
        return known

    def _forget(self, kept: str) -> None:
        """Forget the pairs that nobody looked at for the longest time, and old choices of this one."""
        while len(self._known) > 1 and sum(known.size for known in self._known.values()) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        chosen = self._known[kept].chosen
        while len(chosen) > 1 and self._known[kept].size > MOST_REMEMBERED:
            del chosen[next(iter(chosen))]
