"""A reader of the user's own or of another package: a class or function whose samples are made uniform here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.clusters import cluster_column, cluster_in
from pytest_evalrun.datasets.listing import list_files
from pytest_evalrun.datasets.protocol import Identity, Sample
from pytest_evalrun.datasets.unique import Repeats
from pytest_evalrun.datasets.values import digest_of, flaw_of, is_writable
from pytest_evalrun.errors import EvalrunError, PairError
from pytest_evalrun.suite.forks import UsersCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

KEYS = frozenset({"id", "input", "reference"})
# No file size tells how many samples there will be.
ASSUMED_BYTES = 8 << 20


class UserReader:
    """Calls ``Name(path, **reader)``; the result iterates Samples, dicts or tuples of id, input and reference.

    Where path is a directory, all of its files that are not hidden count as the dataset's content, but for a
    state that a program keeps there.
    """

    def __init__(self, dataset: Dataset, settings: Settings, root: str, reference: str) -> None:
        """``reference`` is the path or dotted name of what is called."""
        from pytest_evalrun.suite.objects import load_object, source_file

        self.name = settings.format
        self.path = Path(dataset.path)
        self.options = dict(settings.reader)
        self._leave_out = settings.own_states
        self._make = load_object(reference, root)
        self._source = source_file(reference, root)
        self._made: Iterable[Any] | None = None
        self._cluster = cluster_column(settings)

    def __iter__(self) -> Iterator[Sample]:
        last = "before the first sample"
        try:
            with UsersCode():
                for index, item in enumerate(self._items()):
                    yield self._checked_sample(self._sample(index, item))
                    last = f"after sample {index}"
        except (EvalrunError, OSError):
            raise
        except Exception as error:
            raise PairError(f"{self.name} failed {last}: {type(error).__name__}: {error}") from error

    def identity(self, hashes: Hashes) -> Identity:
        """Return the reader's own identity, or one from the content of its path and source, and a count by reading."""
        own = getattr(self._items(), "identity", None)
        if own is not None:
            return self._checked(own(hashes))
        digest = digest_of(self._content(hashes), self._source and hashes.file(self._source), self.options)
        if self._source is None:
            count = self._count()["count"]
        else:
            count = hashes.derived(self._source, f"samples of {digest}", self._count)["count"]
        return Identity(digest, digest, count)

    def _items(self) -> Iterable[Any]:
        """Make what is iterated: a generator for each pass anew, because one uses it up, anything else once."""
        if self._made is not None:
            return self._made
        made = self._make(self.path, **self.options)
        if not hasattr(made, "__iter__"):
            raise PairError(f"{self.name} gave a {type(made).__name__}; a reader must be something to iterate over")
        if not isinstance(made, Iterator):
            self._made = made
        return made  # type: ignore[no-any-return]

    def _sample(self, index: int, item: Any) -> Sample:
        if isinstance(item, Sample):
            return Sample(index, str(item.id), item.input, item.reference)
        if isinstance(item, tuple) and len(item) in (2, 3):
            return Sample(index, str(item[0]), *item[1:])
        if isinstance(item, dict) and "input" in item and item.keys() <= KEYS:
            return Sample(index, str(item.get("id", index)), item["input"], item.get("reference"))
        found = f"a dict with {', '.join(map(str, item)) or 'no keys'}" if isinstance(item, dict) else repr(item)[:80]
        raise PairError(
            f"{self.name}: sample {index} is {found}; accepted: a Sample, a dict with id, input and reference, "
            "or a tuple (id, input, reference)"
        )

    def _checked_sample(self, sample: Sample) -> Sample:
        """Refuse what could not be kept: this is found while samples are counted, before the model is asked."""
        if not is_writable(sample.id):
            raise PairError(f"{self.name}: sample {sample.index} has the id {sample.id!r}: half a character")
        if flaw := flaw_of(sample.reference):
            raise PairError(f"{self.name}: label missing: the reference of sample {sample.id!r} is {flaw}")
        if self._cluster is not None:
            self.cluster_of(sample)
        return sample

    def cluster_of(self, sample: Sample) -> str:
        """The cluster of a sample, a part of its input: nothing has to be read again for it."""
        assert self._cluster is not None, "somebody asks for it"
        return cluster_in(sample.input, self._cluster, f"{self.name}: sample {sample.id}")

    def _checked(self, identity: Any) -> Identity:
        if not isinstance(identity, Identity):
            raise PairError(f"{self.name}: identity() gave a {type(identity).__name__}; it must give an Identity")
        return identity

    def _content(self, hashes: Hashes) -> str:
        if self.path.is_dir():
            return hashes.tree(self.path, list_files(self.path, self._leave_out))
        return hashes.file(self.path) if self.path.exists() else ""

    def _count(self) -> dict[str, Any]:
        repeats, count, samples = Repeats(ASSUMED_BYTES), 0, iter(self)
        while ids := [sample.id for sample in islice(samples, 64)]:
            repeats.add(ids)
            count += len(ids)
        if not count:
            raise PairError(f"{self.path}: the dataset is empty: {self.name} gave no sample")
        repeats.confirm(((sample.id, sample.index) for sample in self), self.name, "samples")
        return {"count": count}
