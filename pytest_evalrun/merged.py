"""After a session: what the programs of its pairs wrote becomes one table for each of them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.report.mergerun import Mergeable
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.secrets import Secrets


def merge_programs(paths: RunPaths, pairs: Iterable[Pair], secrets: Secrets) -> tuple[list[str], bool]:
    """What people should know of it, and whether the tables have all rows of the pairs that are complete.

    Of a run without programs nothing is looked at.
    """
    if not (paths.root / "shards").is_dir() and not (paths.summary / "merge_summary.json").is_file():
        return [], True
    from pytest_evalrun.report.mergerun import Lacking, merge_run

    wholes = {pair.whole.full_id: pair.whole for pair in pairs if pair.skip is None}
    remarks = merge_run(paths, filter(None, (_mergeable(pair, secrets) for pair in wholes.values())))
    return remarks, not any(isinstance(remark, Lacking) for remark in remarks)


def _mergeable(pair: Pair, secrets: Secrets) -> Mergeable | None:
    from pytest_evalrun.datasets import create_reader
    from pytest_evalrun.evaluation.stored import key_of
    from pytest_evalrun.report.mergerun import Mergeable

    def ids() -> Iterator[str]:
        samples = create_reader(pair.dataset, pair.settings, pair.root)
        return (sample.id for sample in islice(samples, pair.settings.limit))

    return Mergeable.of(key_of(pair), pair.full_id, pair.settings, ids, secrets.prediction)
