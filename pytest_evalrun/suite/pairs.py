"""The words of a suite as data: tasks, datasets, pairs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.suite.names import refusal, safe_name
from pytest_evalrun.suite.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.settings import Settings

_LIMIT = re.compile(r"\.limit-([0-9]+)\Z")

# What stands before the name of a task, in the place of a path.
TASK = "task://"
# The kinds of layers that hold for one launch.
OF_A_LAUNCH = frozenset({"environment", "command line", "--eval-set"})


class PairKey(NamedTuple):
    """Safe names of a pair: what its files in a run directory are called."""

    suite: str
    task: str
    dataset: str

    @classmethod
    def of_id(cls, full_id: str) -> PairKey | None:
        """The names of ``suite/task/dataset``; None for an id that no pair can have, as of a damaged file."""
        suite, _, rest = full_id.partition("/")
        task, _, dataset = rest.rpartition("/")
        if refusal(suite, "suite") or refusal(task, "task") or refusal(dataset, "dataset"):
            return None
        return cls(safe_name(suite), safe_name(task), safe_name(dataset))

    def limited(self, limit: int | None) -> PairKey:
        """The names of its evaluation on the first samples, which has files of its own; no dataset may end so."""
        return self if limit is None else self._replace(dataset=f"{self.dataset}.limit-{limit}")

    @property
    def limit(self) -> int | None:
        """The number of first samples that these names are of; None where they are of all."""
        found = _LIMIT.search(self.dataset)
        return int(found[1]) if found else None

    @property
    def full(self) -> PairKey:
        """The names of the whole evaluation."""
        return self._replace(dataset=_LIMIT.sub("", self.dataset))


@dataclass(frozen=True)
class Task:
    """A model with its datasets. ``path`` is the absolute path of the model's file or directory, if it has one."""

    name: str
    """The model's name: its path below the suite in the tree layout."""
    path: str | None
    """The absolute path of the model's file or directory, if it has one."""
    directory: str
    """The absolute directory that the model is in; the suite's where it has none of its own."""
    prompt: str | None = None
    """Which of the suite's `prompts` it is asked with; None where there are none. The task is then `model@prompt`."""

    @property
    def model(self) -> str:
        """The model's name without that of its prompt."""
        return self.name if self.prompt is None else self.name.removesuffix(f"@{self.prompt}")


@dataclass(frozen=True)
class Dataset:
    """Samples with, usually, references. ``path`` is the absolute path of the file or directory that holds them."""

    name: str
    """The dataset's name."""
    path: str
    """The absolute path of the file or directory that holds its samples; `task://NAME` where a task server has them."""

    @property
    def is_task(self) -> bool:
        """Whether a task server has its samples."""
        return self.path.startswith(TASK)


class Cut(NamedTuple):
    """The positions ``[low, high)`` of a dataset, and what that range is called."""

    low: int
    high: int
    label: str

    @property
    def size(self) -> int:
        return self.high - self.low


@dataclass(frozen=True, repr=False)
class Pair:
    """One model x one dataset: one pytest item. Layers are ordered lowest first and shared between pairs.

    ``cuts`` are the shards of a pair that has them; ``cut`` is set in a shard, which otherwise is like its pair. What
    that means to whoever asks is said by properties: only who cuts pairs and names their files needs the two.
    """

    suite: str
    """The name of the suite."""
    root: str
    """The absolute directory of the suite."""
    task: Task
    """The model."""
    dataset: Dataset
    """The data."""
    layers: tuple[Layer, ...]
    """The layers of its settings, lowest first; shared between pairs."""
    tags: tuple[str, ...] = ()
    """Words that are markers of its item."""
    skip: str | None = None
    """Why it is skipped; None where it is not."""
    cuts: tuple[Cut, ...] = ()
    """Its shards, where it has some."""
    cut: Cut | None = None
    """The range of a shard; None of a whole pair."""

    @cached_property
    def is_shard(self) -> bool:
        """It is a part of a pair: an item that predicts its range and nothing else."""
        return self.cut is not None

    @cached_property
    def is_cut(self) -> bool:
        """It is a whole pair that only takes over what its shards predict."""
        return bool(self.cuts) and self.cut is None

    @cached_property
    def label(self) -> str:
        """The name of a shard's range, ``0-250``; empty of a whole pair."""
        return "" if self.cut is None else self.cut.label

    @property
    def share(self) -> float:
        """The part of its pair's samples that a shard has; 1 of a whole pair."""
        return 1.0 if self.cut is None else self.cut.size / self.cuts[-1].high

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The places ``[low, high)`` of the answers of all its shards, and of a shard those of its pair's."""
        each = self.settings.generations
        return [(cut.low * each, cut.high * each) for cut in self.cuts]

    @property
    def positions(self) -> range | None:
        """The places of a shard's answers, which are the positions of its samples where each is asked for once.

        None of a whole pair, which has them all.
        """
        each = self.settings.generations
        return None if self.cut is None else range(self.cut.low * each, self.cut.high * each)

    @cached_property
    def id(self) -> str:
        """``task/dataset``, in the names that the user gave; of a shard ``task/dataset/0-250``."""
        whole = f"{self.task.name}/{self.dataset.name}"
        return whole if self.cut is None else f"{whole}/{self.cut.label}"

    def __repr__(self) -> str:
        """Show the id: in reports of all kinds, where a parameter stands, its layers would be kilobytes."""
        return self.id

    @cached_property
    def whole(self) -> Pair:
        """The pair that this is a shard of; itself where it is none."""
        return self if self.cut is None else replace(self, cut=None)

    def shards(self) -> list[Pair]:
        """List the shards, one a cut, in the order of the dataset."""
        return [replace(self, cut=cut) for cut in self.cuts]

    @cached_property
    def full_id(self) -> str:
        """``suite/task/dataset``: unique in a run."""
        return f"{self.suite}/{self.id}"

    @cached_property
    def key(self) -> PairKey:
        return PairKey(safe_name(self.suite), safe_name(self.task.name), safe_name(self.dataset.name))

    def peek(self, name: str) -> Any:
        """Return one setting as its highest layer has it, without resolving all of them for thousands of pairs."""
        return next((layer.values[name] for layer in reversed(self.layers) if name in layer.values), None)

    @property
    def is_quick_look(self) -> bool:
        """True where this launch alone asks for first samples; where the suite does, there is no more of it to do."""
        layer = next((layer for layer in reversed(self.layers) if "limit" in layer.values), None)
        return layer is not None and layer.values["limit"] is not None and layer.kind in OF_A_LAUNCH

    @cached_property
    def settings(self) -> Settings:
        """The settings of all layers; resolved late, because collecting 10,000 pairs must not pay for it."""
        return resolve(self.layers)


@dataclass(frozen=True)
class Suite:
    """A discovered suite. ``protected`` are the directories that nobody else must walk into; all paths are absolute."""

    name: str
    file: str
    root: str
    pairs: tuple[Pair, ...]
    protected: tuple[str, ...] = ()
    has_adapter: bool = False
    run_name: str | None = None
    """What a new run is called that this suite alone names, with `{TIMESTAMP}` and the like in it."""
    notes: tuple[str, ...] = ()
    """What people are told of it before anything runs."""
    batch_system: Mapping[str, Any] = field(default_factory=dict)
    """How jobs are submitted where `--eval-engine command` is asked for."""

    def with_pairs(self, wanted: Iterable[Pair]) -> Suite:
        """Give the suite without all other pairs; of a shard its whole pair is wanted."""
        ids = {pair.whole.full_id for pair in wanted}
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair.full_id in ids))
