"""Rules of metrics that are not built in: by file, by dotted name, by an installed package."""

from __future__ import annotations

import pytest

from pytest_evalrun import metrics, registry
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.settings import MetricSpec

CODE = "def near(prediction, reference, within=1):\n    return abs(prediction - reference) <= within\n"


@pytest.fixture
def suite(tmp_path):
    """A suite's directory with an odd name and a metric in it."""
    root = tmp_path / "it's $(x) 图"
    root.mkdir()
    (root / "my metric.py").write_text(CODE)
    return str(root)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that offers the metric ``close_by``, found as an installed one is."""
    info = tmp_path / "offers_a_metric-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offers-a-metric\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest_evalrun.metrics]\nclose_by = offers_a_metric:near\n")
    (tmp_path / "offers_a_metric.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "offers_a_metric.py"


def test_file(suite):
    """``./file.py:Name`` is relative to the suite; its source is part of the fingerprint."""
    spec = MetricSpec("near", "./my metric.py:near", {"within": 2})
    assert metrics.create_metric(spec, suite).update([1, 1], [3, 4]) == [1.0, 0.0]
    source = metrics.metric_source(spec, suite)
    assert source is not None
    assert source.read_text() == CODE


def test_missing_name(suite):
    """A name that the file does not define is the user's mistake."""
    with pytest.raises(ConfigError, match="far"):
        metrics.create_metric(MetricSpec("far", "./my metric.py:far"), suite)


def test_installed_package(package, suite):
    """An installed package's metric is known by its bare name, and has its file as source."""
    spec = MetricSpec("close_by", "close_by")
    assert "close_by" in registry.names(registry.METRICS)
    assert metrics.create_metric(spec, suite).update([1], [2]) == [1.0]
    assert metrics.metric_source(spec, suite) == package
