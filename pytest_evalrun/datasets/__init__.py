"""One module a kind of data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_evalrun import registry
from pytest_evalrun.datasets.clusters import check_clusters
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.layers import RUN_CONFIGS
from pytest_evalrun.suite.problems import found, line_of, place

if TYPE_CHECKING:
    from pytest_evalrun.datasets.protocol import Reader
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings


def create_reader(dataset: Dataset, settings: Settings, root: str) -> Reader:
    """Make the reader of a dataset: by the name that ``format`` gives, or the user's own where that is a path.

    Raises PairError for options that the format does not have, and for inputs that a ``.run_config`` names in vain.
    """
    _check_inputs(dataset, settings)
    offer, reference = registry.find(registry.READERS, settings.format), settings.format
    if offer is not None:
        made, reference = offer.load(), offer.value
        if offer.is_ours:
            _check_options(dataset, settings, made.accepted)
            # Tasks of a suite are defined by paths in it.
            suite = (root,) if getattr(made, "in_suite", False) else ()
            reader = made(dataset, settings, *suite)
            check_clusters(reader, dataset, settings)
            return reader  # type: ignore[no-any-return]
    from pytest_evalrun.datasets.user import UserReader

    return UserReader(dataset, settings, root, reference)


def _check_inputs(dataset: Dataset, settings: Settings) -> None:
    """Refuse inputs that a ``.run_config`` names in vain, whatever reads the data: without that line the pair might be
    another one.
    """
    layer = settings.origins.get("in_subdir")
    if layer is None or layer.kind not in RUN_CONFIGS or not os.path.isdir(dataset.path):  # noqa: PTH112 - text
        return
    path = f"{dataset.path}/{settings.in_subdir}"
    if not os.path.isdir(path):  # noqa: PTH112 - as above
        where = place(layer.source, line_of(layer, "in_subdir"), "IN_SUBDIR")
        raise PairError(
            f"{where}: {found(settings.in_subdir)}, which is no directory of the dataset; looked for {path}"
        )


def _check_options(dataset: Dataset, settings: Settings, accepted: frozenset[str]) -> None:
    if unknown := settings.reader.keys() - accepted:
        words = ", ".join(sorted(accepted)) or "none"
        raise PairError(
            f"dataset {dataset.name}: reader: unknown key {', '.join(sorted(unknown))} for format {settings.format}; "
            f"accepted: {words}"
        )
