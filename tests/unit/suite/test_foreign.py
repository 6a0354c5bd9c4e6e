"""Which files called evalrun.yaml are suites, and what is said of the others."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.foreign import is_suite, why_foreign

FOREIGN = {
    "another mapping": (b"jobs: [a]\n", "found the keys jobs; a suite has adapter, discover, script or assignment, or"),
    "one letter": (b"adaptor: onnx\n", "did you mean 'adapter'?"),
    "models alone": (b"models: [{name: a}]\nmetrics: [top1]\n", "found the keys metrics, models"),
    "deep": (b"a:\n  adapter: x\n  models: []\n  datasets: []\n", "found the keys a"),
    "no mapping": (b"{}\n", "found no key"),
    "list": (b"- adapter\n", ":1: found a list"),
    "text": (b"adapter\n", ":1: found a str"),
    "empty": (b"", ":1: found nothing"),
    "comment": (b"# adapter: x\n", ":1: found nothing"),
    "two documents": (b"a: 1\n---\nb: 2\n", ":2: found a second document"),
    "tag": (b"a: !Ref x\n", ":1: found the tag '!Ref'"),
    "key twice": (b"a: 1\na: 2\n", ":2: found the key 'a' twice"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "control characters": (b"a: \x01\x02\n", "not YAML"),
    "their own imports": (b"import: numpy\n", "found the keys import"),
}
SUITES = {
    "adapter": b"adapter: onnx\n",
    "discover": b"discover: {model_file_ext: .onnx}\n",
    "script": b"script: run.sh\n",
    "assignment": b"assignment: configs/assignments/default.yaml\n",
    "models and datasets": b"models: []\ndatasets: []\n",
    "JSON": b'{\n "metrics": [],\n "adapter": "onnx"}\n',
    "JSON in a line": b'{"metrics": [], "adapter": "onnx"}\n',
    "quoted": b"'models': []\n\"datasets\": []\n",
    "imported": b"import: more.yaml\nmetrics: [top1]\n",
}
WRONG = {
    "no YAML": b"a: [1\n",
    "no YAML, and its keys": b"adapter: [onnx\n",
    "tag": b"adapter: onnx\nparams: !secret x\n",
    "two documents": b"adapter: onnx\n---\na: 1\n",
    "key twice": b"adapter: onnx\nadapter: onnx\n",
    "not UTF-8": b"adapter: \xff\n",
    "code": b"a: !!python/object/apply:os.system [ls]\n",
    "import gone": b"import: gone.yaml\n",
    "import broken": b"import: broken.yaml\n",
}


@pytest.fixture
def written(tmp_path):
    """``written(content)``: the path of an evalrun.yaml, beside two files that it may import."""

    def write(content):
        (tmp_path / "more.yaml").write_text("import: most.yaml\n")
        (tmp_path / "most.yaml").write_text("import: more.yaml\nadapter: onnx\n")
        (tmp_path / "broken.yaml").write_text("a: [1\n")
        path = tmp_path / "evalrun.yaml"
        path.write_bytes(content)
        return str(path)

    return write


@pytest.mark.parametrize(("content", "words"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_was_never_meant_to_be_a_suite_is_foreign(written, content, words):
    """In a line that says with its place what there is instead, so that a typo is seen."""
    reason = why_foreign(path := written(content))
    assert reason is not None
    assert reason.startswith(path)
    assert words in reason
    assert "\n" not in reason
    assert not is_suite(path)


@pytest.mark.parametrize("content", SUITES.values(), ids=SUITES.keys())
def test_a_suite_is_known_by_its_keys(written, content):
    """Its own and those of its imports, however they are written."""
    assert is_suite(written(content))


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_a_suite_that_is_wrong_is_for_its_user_to_mend(written, content):
    """It is not passed over, and whoever reads it complains; so does what is no YAML at all."""
    path = written(content)
    assert is_suite(path)
    with pytest.raises(ConfigError):
        discover(path)


def test_where_there_is_no_file_there_is_no_suite(tmp_path):
    """Nor where it cannot be one."""
    assert not is_suite(str(tmp_path / "evalrun.yaml"))
