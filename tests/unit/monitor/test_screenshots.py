"""The pictures of the documentation."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs"


def words(file):
    texts = ET.parse(file).getroot().iter("{http://www.w3.org/2000/svg}text")
    return " ".join("".join(text.text or "" for text in texts).replace("\xa0", " ").split())


@pytest.mark.parametrize("name", ["monitor.svg", "monitor-dead.svg"])
def test_pictures_show_what_the_monitor_draws_today(tmp_path, monkeypatch, name):
    """Drawn again they say the same, and they ask nobody for fonts."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delitem(sys.modules, "screenshots", raising=False)
    import screenshots

    assert name in screenshots.draw(tmp_path)
    assert "digits/mlp_int8/clean" in words(DOCS / name)
    assert words(DOCS / name) == words(tmp_path / name)
    assert 'url("http' not in (DOCS / name).read_text()
