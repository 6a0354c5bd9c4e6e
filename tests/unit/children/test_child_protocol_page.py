"""What the page on the protocol shows works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pytest_evalrun.children.adapter import ServerAdapter
from pytest_evalrun.children.faults import ModelError
from pytest_evalrun.datasets.protocol import Sample

PAGE = Path(__file__).parents[3] / "docs" / "child-protocol.md"


def example(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def serve(tmp_path):
    """Starts an example as a model, with what it writes."""
    running = []

    def start(language, *words):
        file = tmp_path / f"server.{language}"
        file.write_text(example(language))
        output = bytearray()
        load = {"model": "/models/m", "params": {}}
        adapter = ServerAdapter(
            "m", [*words, str(file)], load, env={}, hold=(), output=output.extend, started=lambda pid: None
        )
        running.append(adapter)
        adapter.load()
        return adapter, output

    yield start
    for adapter in running:
        adapter.kill()


def samples(*inputs):
    return [Sample(index, f'"{index}"', given) for index, given in enumerate(inputs)]


def test_the_python_example_counts_words(serve):
    """Loaded, asked twice, told of an error, closed; what it says is output."""
    model, output = serve("python", sys.executable)
    assert model.predict(samples("a b", "", "数据 {} \n c d")) == [2, 0, 4]
    with pytest.raises(ModelError, match="AttributeError: "):
        model.predict(samples(1))
    assert model.predict(samples("a")) == [1]
    pids = model.pids
    model.close()
    assert output == b"model: /models/m\n"
    assert len(pids) == 2
    assert model.pids == ()


def test_the_shell_example_doubles_numbers(serve):
    """With nothing but what POSIX has; a cell of a CSV is text, and a number to it all the same."""
    model, output = serve("sh", "/bin/sh")
    assert model.predict(samples(1, -5, 30)) == [2, -10, 60]
    assert model.predict(samples("1", "-5")) == [2, -10]
    assert model.predict(samples(7)) == [14]
    model.close()
    assert output == b"ready to double\n"


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_examples_are_short(language):
    """Twenty lines or so are all it takes."""
    assert len(example(language).splitlines()) <= 25
