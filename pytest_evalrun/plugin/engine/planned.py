"""The units of a launch: cut for a run, or for a look at what one would submit."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from pytest_evalrun.engines.dispatch import Unit
from pytest_evalrun.engines.making import create_engine
from pytest_evalrun.engines.preview import PreviewedUnit, preview_lines, write_scripts
from pytest_evalrun.evaluation.selection import existing_run
from pytest_evalrun.planning.units import UnitPlan, cut_units, split_unit
from pytest_evalrun.plugin.engine.division import UnitClass, unit_items
from pytest_evalrun.plugin.engine.outfit import Outfitter
from pytest_evalrun.plugin.items import pair_of
from pytest_evalrun.plugin.lastline import expected_of
from pytest_evalrun.plugin.options import jobs_at_once
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.layout import WorkDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pytest

    from pytest_evalrun.planning.costs import Estimate
    from pytest_evalrun.plugin.engine.division import Division
    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.plugin.xdist.units import Told
    from pytest_evalrun.rundir.jobfiles import JobItem
    from pytest_evalrun.slots.need import Need
    from pytest_evalrun.suite.clusters import ClusterWords

# What a run is called here that is not there yet.
NEW_RUN = "new"


class Planner:
    """Cuts what goes out; ``needs`` are those of tests that lease GPUs of their own."""

    def __init__(
        self, config: pytest.Config, outfitter: Outfitter, division: Division, needs: Mapping[str, Need]
    ) -> None:
        self._config = config
        self._outfitter = outfitter
        self._division = division
        self._needs = needs

    def units(
        self, items: Iterable[pytest.Item], expected: Mapping[str, Estimate], name: Callable[[], str]
    ) -> Iterator[tuple[Unit, UnitPlan]]:
        cluster = self._outfitter.options.cluster
        found = unit_items(items, self._division, expected, self._needs, cluster.workers)
        # What one worker takes so long, so many workers of a job share.
        minutes = cluster.unit_minutes * cluster.workers
        for plan in cut_units(found, minutes=minutes, at_once=jobs_at_once(self._config)):
            assert isinstance(plan.cls, UnitClass), "classes come as they were given"
            job_items = self._outfitter.job_items(item.id for item in plan.items)
            yield Unit(name(), job_items, plan.cls.resources, plan.seconds / cluster.workers), plan

    def split(self, items: Sequence[JobItem], expected: Mapping[str, Estimate]) -> list[list[JobItem]]:
        """Halve what did not fit into a time limit, by the seconds that are expected."""
        named = {item.id: item for item in items}
        wanted = [self._division.remote[nodeid] for nodeid in named]
        workers = self._outfitter.options.cluster.workers
        found = unit_items(wanted, self._division, expected, self._needs, workers)
        whole = UnitPlan(tuple(found), found[0].cls, sum(item.seconds for item in found))
        return [[named[item.id] for item in half.items] for half in split_unit(whole)]


def preview(config: pytest.Config, options: Options, division: Division, told: Told, words: ClusterWords) -> list[str]:
    """Tell what a launch would submit, and with ``--eval-scripts`` write its scripts.

    Raises ConfigError where the engine, or the directory for scripts, cannot be used.
    """
    workdir = WorkDir(options.workdir)
    run = existing_run(options.workdir, options.run) or workdir.run(NEW_RUN)
    outfitter = Outfitter(config, options, run, division)
    pairs = [pair for item in division.remote.values() if (pair := pair_of(item)) is not None]
    expected = expected_of(pairs, options)
    numbers = count(1)
    planner = Planner(config, outfitter, division, told.needs)
    found = planner.units(division.remote.values(), expected, lambda: f"u{next(numbers):03d}")
    units = [_previewed(unit, plan, outfitter, expected) for unit, plan in found]
    engine = create_engine(words, EnginePaths(run).root)
    lines = preview_lines(units, engine, jobs_at_once(config), division.here)
    if (scripts := options.cluster.scripts) is not None and units:
        lines += write_scripts(scripts, units, create_engine(words, scripts), jobs_at_once(config))
    return lines


def _previewed(unit: Unit, plan: UnitPlan, outfitter: Outfitter, expected: Mapping[str, Estimate]) -> PreviewedUnit:
    models = tuple(dict.fromkeys(item.model for item in plan.items))
    sources = {expected[pair.whole.full_id].source for pair in outfitter.pairs(unit)}
    return PreviewedUnit(outfitter.job(unit, 1), outfitter.spec(unit, 1), models, guessed=sources != {"history"})
