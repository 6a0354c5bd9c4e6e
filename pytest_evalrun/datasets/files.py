"""Files in a directory: one file, or several of one stem, is a sample."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_evalrun.datasets.clusters import KEY, WHO_HAS_COLUMNS, cluster_column
from pytest_evalrun.datasets.labels import LabelTable
from pytest_evalrun.datasets.listing import find_match, has, list_files, relative_to
from pytest_evalrun.datasets.protocol import Identity, Sample
from pytest_evalrun.datasets.values import digest_of
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings


class FilesReader:
    """Samples in the order of their ids: the file's relative path, or the stem where ``suffixes`` are given.

    What grows with the dataset is one sorted list of names and, with ``labels``, one pointer a sample: the price
    of an order that does not depend on the file system.
    """

    accepted: ClassVar[frozenset[str]] = frozenset({"id", "label", "delimiter", "types"})

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self.root = Path(dataset.path)
        self.inputs = self.root / settings.in_subdir if settings.in_subdir else self.root
        # The longest first: "_y.bin" must not be taken for ".bin".
        self.suffixes = settings.suffixes
        self._by_length = sorted(settings.suffixes, key=len, reverse=True)
        self.labels = self.root / settings.labels if settings.labels else None
        self.table = LabelTable.of(self.labels, dataset, settings) if self.labels else None
        self.references = self.root / settings.references if settings.references else None
        self.own_states = settings.own_states
        self.options = dict(settings.reader)
        self.cluster = cluster_column(settings)

    def __iter__(self) -> Iterator[Sample]:
        references = self._references()
        for index, name in enumerate(self.ids):
            yield Sample(index, name, self._input(name), references[index] if references else self._parallel(name))

    def identity(self, hashes: Hashes) -> Identity:
        """Digests over names and contents. Raises PairError where a sample lacks a file or its label."""
        if not self.ids:
            nothing = f"no file ends in {' or '.join(self.suffixes)}" if self.suffixes else "it holds no file"
            raise PairError(f"{self.inputs}: the dataset is empty: {nothing}")
        inputs = hashes.tree(self.inputs, self._input_names())
        if self.suffixes:
            inputs = digest_of(inputs, self.suffixes)
        return Identity(inputs, self._identity_of_references(hashes, inputs), len(self.ids))

    def clusters(self) -> Iterator[str]:
        """The cluster of each sample, of a column of the labels."""
        assert self.cluster is not None, "somebody asks for it"
        return iter(self._clusters(self.cluster))

    def _clusters(self, column: str) -> list[str]:
        if self.table is None:
            found = f"found {column!r}, and files have no columns"
            raise PairError(f"{self.root}: {KEY}: {found}; accepted: {WHO_HAS_COLUMNS}")
        return self.table.clusters(self.ids, column)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all samples, sorted."""
        # Labels, references and a state that a program keeps may lie among the inputs, and are none.
        others = (self.labels, self.references, *(self.root / name for name in self.own_states))
        leave_out = frozenset(name for other in others if other and (name := relative_to(other, self.inputs)))
        names = list_files(self.inputs, leave_out)
        if not self.suffixes:
            return sorted(names)
        stems = {stem for name in names if (stem := self._stem(name)) is not None}
        return sorted(stems)

    @cached_property
    def _reference_names(self) -> list[str]:
        return [] if self.references is None else sorted(list_files(self.references, frozenset()))

    def _stem(self, name: str) -> str | None:
        for suffix in self._by_length:
            if name.endswith(suffix):
                return name[: -len(suffix)]
        return None

    def _input(self, name: str) -> Any:
        if not self.suffixes:
            return self.inputs / name
        if len(self.suffixes) == 1:
            return self.inputs / (name + self.suffixes[0])
        return {suffix: self.inputs / (name + suffix) for suffix in self.suffixes}

    def _input_names(self) -> Sequence[str]:
        if not self.suffixes:
            return self.ids
        names = [name + suffix for name in self.ids for suffix in self.suffixes]
        for name in names if len(self.suffixes) > 1 else ():
            if not os.path.exists(self.inputs / name):  # noqa: PTH110 - 100,000 of them
                raise PairError(f"{self.inputs}: {name} is missing; suffixes: {', '.join(self.suffixes)}")
        return names

    def _references(self) -> list[Any] | None:
        return self.table.read(self.ids) if self.table else None

    def _parallel(self, name: str) -> Path | dict[str, Path] | None:
        """A file; of an item whose reference has several of its suffixes, too, these as its input has them."""
        if self.references is None:
            return None
        first, *others = self._matches(name)
        if not others:
            return self.references / first
        return {match[len(name) :]: self.references / match for match in (first, *others)}

    def _matches(self, name: str) -> list[str]:
        assert self.references is not None
        names = self._reference_names
        if matches := [name + suffix for suffix in self.suffixes if has(names, name + suffix)]:
            return matches
        match = find_match(names, name, str(self.references))
        if match is None:
            raise PairError(f"{self.references}: label missing: no reference for the sample {name!r}")
        return [match]

    def _identity_of_references(self, hashes: Hashes, inputs: str) -> str:
        if self.labels:
            return self._identity_of_labels(hashes, self.labels, inputs)
        if self.cluster is not None:
            self._clusters(self.cluster)
        if self.references:
            return hashes.tree(self.references, [match for name in self.ids for match in self._matches(name)])
        return ""

    def _identity_of_labels(self, hashes: Hashes, labels: Path, inputs: str) -> str:
        """The check that no label is missing is remembered until the labels or the inputs change."""
        if not labels.is_file():
            raise PairError(f"{labels}: labels missing: there is no such file")

        def check() -> dict[str, Any]:
            self._references()
            if self.cluster is not None:
                self._clusters(self.cluster)
            return {}

        clusters = [] if self.cluster is None else [self.cluster]
        hashes.derived(labels, f"labels {digest_of(inputs, self.options, *clusters)}", check)
        digest = hashes.file(labels)
        return digest_of(digest, self.options) if self.options else digest
