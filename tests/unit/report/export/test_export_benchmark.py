"""What stands in a file for pytest-benchmark; that it compares them is tested with it, in ``inspect/``."""

from __future__ import annotations

import json
import statistics

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.export.benchmark import export_benchmark, statistics_of
from pytest_evalrun.report.export.chosen import choose


@pytest.fixture
def exported(run, tmp_path):
    """``exported()``: export the run; its benchmarks by their names."""

    def export(*, force=False):
        file = tmp_path / "b.json"
        export.remarks = export_benchmark(choose(run.paths).pairs, run.paths, file, force=force)
        export.content = json.loads(file.read_text())
        return {one["fullname"]: one for one in export.content["benchmarks"]}

    return export


def test_seconds_of_samples_are_rounds(run, exported):
    """Those that failed are none; the models of a dataset are a group."""
    run.result("s", "m", "d", metrics={"top1": 0.5}, total=4, failed=1, timing=2)
    lines = [run.line((i, "p", "r")) | {"seconds": seconds} for i, seconds in enumerate([0.3, 0.1, 0.2])]
    run.predictions("s", "m", "d", [*lines, run.line((3, None, "r")) | {"status": "failed", "seconds": 9.0}])
    one = exported()["s/m/d"]
    assert (one["group"], one["name"], one["params"]) == ("s/d", "m/d", {"task": "m", "dataset": "d"})
    stats = one["stats"]
    assert (stats["min"], stats["max"], stats["rounds"], stats["median"]) == (0.1, 0.3, 3, 0.2)
    assert (stats["total"], stats["iterations"]) == (pytest.approx(0.6), 1)
    assert one["extra_info"]["metrics"] == {"top1": 0.5}
    assert {"machine_info", "commit_info", "datetime", "version"} <= exported.content.keys()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 101])
def test_statistics(n):
    """Mean, deviation and median are those of the standard library, quartiles lie where a quarter of them ends."""
    data = [((i * 37) % 101) / 1000 for i in range(1, n + 1)]
    found = statistics_of(data)
    assert found["mean"] == pytest.approx(statistics.mean(data))
    assert found["stddev"] == pytest.approx(statistics.stdev(data) if n > 1 else 0)
    assert found["median"] == pytest.approx(statistics.median(data))
    assert found["min"] <= found["q1"] <= found["median"] <= found["q3"] <= found["max"]
    assert found["ops"] == pytest.approx(1 / found["mean"])


def test_outliers():
    """Beyond one deviation, and beyond the whiskers."""
    found = statistics_of([1.0] * 20 + [1.1, 0.9, 50.0])
    assert (found["outliers"], found["iqr_outliers"]) == ("1;3", 3)
    assert (found["ld15iqr"], found["hd15iqr"]) == (1.0, 1.0)


def test_times_that_nobody_saw_are_none(run, exported):
    """Shares of batches, as earlier versions kept them, and samples without a time are left out, which is said."""
    for name, timing, seconds in (("good", 2, 0.1), ("old", None, 0.1), ("none", 2, None)):
        run.result("s", name, "d", total=1, timing=timing)
        run.predictions("s", name, "d", [run.line((0, "p", "r")) | {"seconds": seconds}])
    assert list(exported()) == ["s/good/d"]
    assert exported.remarks == ["2 pairs left out, whose samples were not timed one by one: s/none/d, s/old/d"]


def test_a_run_without_times_is_refused(run, exported):
    """An empty file would help nobody."""
    run.result("s", "m", "d", total=1)
    with pytest.raises(ConfigError, match="no sample was timed by itself"):
        exported()


@pytest.mark.parametrize("text", ["", '{"machine_info": {}}', "mine", '{"evalrunner": 1}'])
def test_somebody_elses_file_stays(run, exported, tmp_path, text):
    """It is named with the remedy; ours may be written again."""
    run.result("s", "m", "d", total=1, timing=2)
    run.predictions("s", "m", "d", [(0, "p", "r")])
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(ConfigError, match=r"b\.json: it exists.*--force"):
        exported()
    assert (tmp_path / "b.json").read_text() == text
    assert list(exported(force=True)) == list(exported()) == ["s/m/d"]
