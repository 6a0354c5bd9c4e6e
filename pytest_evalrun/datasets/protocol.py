"""The protocol of kinds of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """One unit of input. ``index`` is its place in the dataset, from 0; ``id`` never changes.

    ``input`` is a :class:`~pathlib.Path` (``files``, one suffix), a dict ``{suffix: Path}`` (``files``, several),
    a dict ``{column: value}``, or the bare value where ``inputs`` names a single column.
    """

    index: int
    """Its place in the dataset, from 0."""
    id: str
    """Its name, which never changes."""
    input: Any
    """A path (`files`, one suffix), `{suffix: path}` (several), `{column: value}`, or the bare value of a single
    column.
    """
    reference: Any = None
    """What the answer should be; models never see it."""
    generation: int = 0
    """Which of its answers is asked for, from 0, where `generations` wants several."""


@dataclass(frozen=True)
class Identity:
    """A dataset by content: digests of its inputs and of its references, and how many samples it has.

    ``inputs_files`` is the number of files behind ``inputs`` (1 for a table).
    """

    inputs: str
    """A digest of the content of all inputs."""
    references: str
    """A digest of all references."""
    count: int
    """How many samples there are."""
    clusters: str = ""
    """A digest of the column by which samples belong together, where one is asked for that is apart from these."""


class Hashes(Protocol):
    """Content hashes made cheap by a cache; see :class:`pytest_evalrun.rundir.hashes.HashCache`."""

    def file(self, path: Path) -> str:
        """sha256 of one file, in hex."""

    def tree(self, root: Path, names: Iterable[str]) -> str:
        """One digest over the names (relative to root) and contents of many files; order does not matter."""

    def derived(self, path: Path, kind: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what ``compute`` says of the content of ``path``, remembered until the file changes. Builtins only."""

    def note(self, name: str, value: dict[str, Any]) -> None:
        """Keep what somebody says, in the place of what was said before, for all processes at once. Builtins only."""

    def noted(self, name: str) -> dict[str, Any] | None:
        """Return what was said last of this name, which says of what it holds."""


@runtime_checkable
class Reader(Protocol):
    """The samples of one dataset, streamed: memory must not grow with their number.

    ``gate_rules.cluster`` is a key of inputs that are mappings; of readers of ours ``clusters()`` yields each sample's.
    """

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples in the order of the dataset, with their references."""

    def identity(self, hashes: Hashes) -> Identity:
        """Digests of inputs and references apart, so that new labels do not mean new inference.

        Raises PairError for an empty dataset, a missing label, two samples with one id.
        """


class Repeated:
    """The samples of a reader, each ``generations`` times in a row: one for each answer that is asked for."""

    def __init__(self, reader: Reader, generations: int) -> None:
        self._reader = reader
        self._generations = range(generations)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._reader:
            for generation in self._generations:
                yield Sample(sample.index, sample.id, sample.input, sample.reference, generation)

    def identity(self, hashes: Hashes) -> Identity:
        """Those of the reader: the data are the same."""
        return self._reader.identity(hashes)
