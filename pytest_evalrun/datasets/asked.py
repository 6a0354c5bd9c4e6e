"""What the samples of a pair ask, for whoever shows it: the parts of an input by name, and their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings


def input_names(settings: Settings) -> Sequence[str]:
    """The names of the parts of an input; nothing where it has one part without a name."""
    return settings.inputs or (settings.suffixes if len(settings.suffixes) > 1 else ())


def asked_inputs(pair: Pair) -> Iterator[tuple[str, Any]]:
    """Id and input of each sample in dataset order, read by the suite's reader. Raises PairError as that does."""
    from pytest_evalrun.datasets import create_reader

    return ((sample.id, sample.input) for sample in create_reader(pair.dataset, pair.settings, pair.root))
