"""After a pair was scored, what the page of the run tells of it is made where its samples are at hand."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.steps import Evaluation
    from pytest_evalrun.report.html.fragments import Fragments


class FragmentWriter:
    """Makes the fragments of a worker's pairs. One that cannot be made is left to whoever makes the page."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @cached_property
    def _fragments(self) -> Fragments:
        from pytest_evalrun.report.html.fragments import Fragments, earlier_runs

        return Fragments(self._context.paths, earlier_runs(self._context.paths), self._context.secrets)

    def write(self, evaluation: Evaluation) -> None:
        """Of what was reused there is one, and a shard is told of by its pair."""
        if evaluation.reused or evaluation.result is None or evaluation.pair.is_shard:
            return
        from pytest_evalrun.evaluation.origins import origin_of
        from pytest_evalrun.report.html.fragments import SampleSource
        from pytest_evalrun.rundir.layout import paths_of

        pair = evaluation.pair
        files = paths_of(self._context.paths, pair)
        try:
            source = SampleSource.of(origin_of(pair, files, evaluation.samples))
            self._fragments.make(files, evaluation.result, source)
        except Exception as error:  # noqa: BLE001 - the pair is evaluated, whatever becomes of its page
            self._context.say(f"{pair.full_id}: what the page tells of it could not be made: {error}")
