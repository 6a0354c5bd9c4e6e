"""Runs written by hand, and their pairs as exports have them."""

from __future__ import annotations

import json
import zipfile

import pytest

from pytest_evalrun.report.export.chosen import Sources, choose
from pytest_evalrun.report.export.evalfile import export_inspect
from pytest_evalrun.report.export.target import ExportTarget


@pytest.fixture
def inspected(run, tmp_path):
    """``inspected(sources, …)``: export the run; the archives by their names, each as member → content."""

    def export(sources=None, directory="out", *, limits=False, force=False):
        target = ExportTarget(tmp_path / directory, "inspect", force=force)
        given = sources if callable(sources) else lambda known: sources or Sources()
        told = dict(export_inspect(choose(run.paths, limits=limits).pairs, "r1", target, given))
        export.remarks = [remark for remarks in told.values() for remark in remarks]
        return {path.relative_to(tmp_path / directory).as_posix(): members(path) for path in told}

    return export


def members(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}
