from __future__ import annotations

import pytest

from pytest_evalrun.datasets.protocol import Identity, Reader, Sample
from pytest_evalrun.errors import ConfigError, PairError

SOURCE = """
from pytest_evalrun.datasets.protocol import Identity, Sample

def generator(path, times=1):
    for line in path.read_text().split() * times:
        yield {"input": line, "reference": line.upper()}

class Tuples:
    made = 0
    def __init__(self, path):
        Tuples.made += 1
    def __iter__(self):
        yield "a", 1
        yield "b", 2, 3

class Own:
    def __init__(self, path):
        pass
    def __iter__(self):
        yield Sample(99, "s", "x", "y")
    def identity(self, hashes):
        return Identity("in", "ref", 1)

def number(path):
    return 7

def nothing(path):
    return []

def twice(path):
    return [{"id": "p", "input": 1}, {"id": "q", "input": 1}, {"id": "p", "input": 1}]

def strange(path):
    return [{"input": 1, "gold": 2}]

def broken(path):
    yield {"input": 1}
    raise KeyError("text")

def half(path):
    return [("x\\udc80", 1)]

def nan(path):
    return [{"id": "p", "input": 1, "reference": {"x": [0, float("nan")]}}]

def deep(path):
    reference = []
    for _ in range(300):
        reference = [reference]
    return [{"id": "p", "input": 1, "reference": reference}]

class WrongIdentity(Own):
    def identity(self, hashes):
        return {"inputs": "x"}
"""


@pytest.fixture
def user(tmp_path, read):
    (tmp_path / "reader.py").write_text(SOURCE)
    (tmp_path / "data.txt").write_text("one two")

    def make(name, path="data.txt", **settings):
        return read(tmp_path / path, root=tmp_path, format=f"./reader.py:{name}", **settings)

    return make


def test_a_generator_is_started_anew_for_each_pass(user):
    """Dicts become samples, parameters come from `reader`, and a place is the id where there is none."""
    reader = user("generator", reader={"times": 2})
    assert isinstance(reader, Reader)
    assert list(reader) == list(reader)
    assert list(reader)[1:3] == [Sample(1, "1", "two", "TWO"), Sample(2, "2", "one", "ONE")]


def test_an_object_is_made_once_and_iterated_often(user):
    """Tuples are id, input and, if there is one, reference."""
    reader = user("Tuples")
    assert list(reader) == list(reader) == [Sample(0, "a", 1), Sample(1, "b", 2, 3)]


def test_samples_get_their_place_from_us(user):
    """An index that the reader made up cannot collide."""
    assert list(user("Own")) == [Sample(0, "s", "x", "y")]


def test_its_own_identity_is_believed(user, hashes):
    """A reader that knows better what its data is may say so."""
    assert user("Own").identity(hashes) == Identity("in", "ref", 1)


def test_otherwise_content_source_and_parameters_are_its_identity(user, hashes, tmp_path):
    """Any of the three changed is another dataset."""
    first = user("generator").identity(hashes)
    assert first.count == 2
    assert user("generator").identity(hashes) == first
    assert user("generator", reader={"times": 2}).identity(hashes).inputs != first.inputs
    (tmp_path / "data.txt").write_text("one three")
    second = user("generator").identity(hashes)
    assert second.inputs != first.inputs
    (tmp_path / "reader.py").write_text(SOURCE + "# changed\n")
    assert user("generator").identity(hashes).inputs != second.inputs


def test_a_directory_is_identified_by_all_its_files(user, hashes, tmp_path):
    """Also a reader of directories runs again when one file of it changes; a place that is no file is allowed."""
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("1")
    first = user("Tuples", "d").identity(hashes)
    (tmp_path / "d/mine.state").write_text("a program's own, and no data")
    assert user("Tuples", "d", env={"RUN_STATE_NAME": "mine"}).identity(hashes) == first
    (tmp_path / "d/e/f").write_text("2")
    assert user("Tuples", "d").identity(hashes).inputs != first.inputs
    assert user("Tuples", "nowhere").identity(hashes).count == 2


FAULTS = {
    "number": "./reader.py:number gave a int; a reader must be something to iterate over",
    "nothing": "the dataset is empty: ./reader.py:nothing gave no sample",
    "twice": "./reader.py:twice: two samples with the id 'p': samples 0 and 2",
    "strange": "sample 0 is a dict with input, gold; accepted: a Sample, a dict with id, input and reference",
    "half": "./reader.py:half: sample 0 has the id 'x\\udc80': half a character",
    "nan": "./reader.py:nan: label missing: the reference of sample 'p' is NaN at .x.1",
    "deep": "./reader.py:deep: label missing: the reference of sample 'p' is nested too deeply",
    "broken": "./reader.py:broken failed after sample 0: KeyError: 'text'",
    "WrongIdentity": "identity() gave a dict; it must give an Identity",
}


@pytest.mark.parametrize(("name", "message"), FAULTS.items(), ids=FAULTS)
def test_faults_of_a_reader_name_it(user, hashes, name, message):
    """The reader, the sample and what is accepted are told."""
    with pytest.raises(PairError) as caught:
        user(name).identity(hashes)
    assert message in str(caught.value)


def test_a_reader_that_is_not_there(user):
    """A wrong name is the user's configuration."""
    with pytest.raises(ConfigError, match="missing"):
        user("missing")
