"""Suites that once made a bad model look good, a good one bad, or an error hard to read: each with what is right."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from PIL import Image
from support import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ECHO = "def predict(batch): return [sample.input for sample in batch]"
CATS = 'def predict(batch): return ["cat" for sample in batch]'
LENGTHS = "def predict(batch): return [len(sample.input) for sample in batch]"
BROKEN = 'def predict(batch): raise ValueError("weights are broken")'
LOADED = f"""
from pathlib import Path
Path(__file__).with_name("loaded").touch()
{ECHO}
"""


@dataclass(frozen=True)
class Should:
    """What is right for one pair: its metrics, or what its error says; and a line of its log."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    log: str = ""


@dataclass(frozen=True)
class Case:
    """A suite: what it says beside the usual, its model's code, its files, and what is right for each of its pairs."""

    should: Mapping[str, Should]
    suite: Mapping[str, object]
    code: str = ECHO
    files: Mapping[str, str | Callable[[Path], object]] = field(default_factory=dict)
    unloaded: bool = False

    def make(self, suite: Path) -> None:
        content = {"adapter": "./m.py:predict", **models(m={}), "metrics": ["exact_match"], **self.suite}
        (suite / "evalrun.yaml").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        for name, text in {"m.py": self.code, **self.files}.items():
            (suite / name).parent.mkdir(parents=True, exist_ok=True)
            text(suite / name) if callable(text) else (suite / name).write_text(text, encoding="utf-8")


def models(**settings: Mapping[str, object]) -> dict[str, object]:
    """A model of each name with settings of its own."""
    overrides = [{"match": f"{name}/*", **own} for name, own in settings.items() if own]
    return {"models": [{"name": name} for name in settings], "overrides": overrides}


def onnx_models(**settings: Mapping[str, object]) -> dict[str, object]:
    several = models(**settings)
    return several | {"adapter": "onnx", "models": [{"name": name, "path": "m.onnx"} for name in settings]}


def files(*names: str) -> dict[str, object]:
    return {"datasets": [{"name": name, "path": name} for name in names]}


def tables(*paths: str, **names: str) -> dict[str, object]:
    """Datasets of these files, each of its file's name or of the one that is given."""
    named = {Path(path).stem: path for path in paths} | names
    datasets = [{"name": name, "format": path.rpartition(".")[2], "path": path} for name, path in named.items()]
    return {"datasets": datasets, "inputs": ["q"], "reference": "answer"}


def answers(**known: str) -> str:
    return f"ANSWERS = {known!r}\ndef predict(batch): return [ANSWERS[sample.input] for sample in batch]"


def rows(**references: object) -> str:
    return "".join(json.dumps({"q": q, "answer": answer}) + "\n" for q, answer in references.items())


def graph(text: str) -> Callable[[Path], object]:
    model = f'<ir_version: 8, opset_import: ["": 13, "ai.onnx.ml": 1]> g {text}'
    return lambda path: onnx.save(onnx.parser.parse_model(model), path)


def array(path: Path) -> None:
    with path.open("wb") as file:  # by its name alone numpy would add .npy to .NPY
        np.save(file, np.array([1, 2, 3, 4], np.float32))


def image(pixels: np.ndarray, orientation: int | None = None) -> Callable[[Path], object]:
    exif = Image.Exif()
    if orientation:
        exif[274] = orientation
    return lambda path: Image.fromarray(pixels).save(path, exif=exif)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 65535, (16, 16), np.uint16)


def decibels(difference: np.ndarray) -> float:
    return 20 * math.log10(65535) - 10 * math.log10(float(np.mean(difference.astype(float) ** 2)))


CLEAN, OTHER = noise(1), noise(2)
BOTTOM = np.repeat(np.array([0] * 4 + [255] * 4, np.uint8), 8).reshape(8, 8)
# The means of the upper and the lower half, of the left and the right one.
HALVES = """(float[n, 3, 8, 8] x) => (float[n, 4] y) <int64[3] cut = {0, 4, 4}> {
    high = ReduceMean<axes = [1, 3], keepdims = 0>(x)
    wide = ReduceMean<axes = [1, 2], keepdims = 0>(x)
    both = Concat<axis = 1>(high, wide)
    halves = Reshape(both, cut)
    y = ReduceMean<axes = [2], keepdims = 0>(halves)
}"""
SCORES = """(float[n, 3] x) => (int64[n] output_label, seq(map(int64, float[n])) output_probability) {
    output_label = ArgMax<axis = 1, keepdims = 0>(x)
    output_probability = ai.onnx.ml.ZipMap<classlabels_int64s = [0, 1, 2]>(x)
}"""
MEAN = "(float[n, k] x) => (float[n] y) { y = ReduceMean<axes = [1], keepdims = 0>(x) }"

RIGHT = dict.fromkeys(("top1", "macro_f1", "confusion", "exact_match"), 1)
DEEP = "[" * 3000 + "]" * 3000

CASES = {
    "csv-label-text-that-spells-a-number": Case(
        {"m/d": Should(RIGHT)},
        tables("d.csv") | {"metrics": list(RIGHT)},
        code=answers(a="1.0", b="2.0", c="12E12", d="47583311587E59"),
        files={"d.csv": "q,answer\na,1.0\nb,2.0\nc,12E12\nd,47583311587E59\n"},
    ),
    "exact-match-3.10-equals-3.1": Case(
        {pair: Should({"exact_match": 0}) for pair in ("m/d", "m/lines")},
        tables("d.csv", "lines.jsonl"),
        code=answers(a="3.1", b="10.1", c="1_000", d="1e3"),
        files={
            "d.csv": "q,answer\na,3.10\nb,10.10\nc,1000\nd,1000\n",
            "lines.jsonl": rows(a="3.10", b="10.10", c="1000", d="1000"),
        },
    ),
    "zipmap-kind-is-ignored": Case(
        {
            "vector/d": Should({"score": 0.75}),
            "value/d": Should(error="has 3 of float32 a sample"),
            "image/d": Should(error="has 3 a sample; kind image needs 2 or 3 sizes"),
        },
        onnx_models(
            **{kind: {"output": {"kind": kind, "name": "output_probability"}} for kind in ("vector", "value", "image")}
        )
        | tables("d.csv")
        | {"inputs": ["a", "b", "c"], "metrics": ["./m.py:score"]},
        code="def score(prediction, reference): return prediction[int(reference)]",
        files={"m.onnx": graph(SCORES), "d.csv": "a,b,c,answer\n0.5,0.25,0.25,0\n0,0,1,2\n"},
    ),
    "psnr-16-bit-data-range": Case(
        {
            "m/other": Should({"psnr": decibels(CLEAN.astype(int) - OTHER)}),
            "m/near": Should({"psnr": decibels(np.ones(1))}),
        },
        files("other", "near")
        | {"in_subdir": "noisy", "references": "clean", "metrics": [{"psnr": {"data_range": 65535}}]},
        files={
            "other/clean/a.png": image(CLEAN),
            "other/noisy/a.png": image(OTHER),
            "near/clean/a.png": image(CLEAN),
            "near/noisy/a.png": image(CLEAN + np.uint16(1)),
        },
    ),
    "uppercase-NPY-is-read-as-raw-bytes": Case(
        {"m/d": Should({"mae": 0})},
        onnx_models(m={})
        | files("d")
        | {"labels": "labels.csv", "preprocess": {}, "output": {"kind": "value"}, "metrics": ["mae"]},
        files={
            "m.onnx": graph(MEAN),
            "d/a.npy": array,
            "d/b.NPY": array,
            "d/labels.csv": "id,label\na.npy,2.5\nb.NPY,2.5\n",
        },
    ),
    "nothing-predicted-is-PASSED": Case(
        {"m/d": Should(error="no sample was predicted (of 10); the first: 0: ValueError: weights are broken")},
        tables("d.jsonl") | {"max_failed": 10},
        code=BROKEN,
        files={"d.jsonl": rows(**{str(i): i for i in range(100)})},
    ),
    "csv-cell-over-128-KB": Case(
        {"m/d": Should({"exact_match": 1})},
        tables("d.csv"),
        code=LENGTHS,
        files={"d.csv": f"q,answer\n{'x' * 140000},140000\n"},
    ),
    "half-a-character-in-an-id": Case(
        {"m/d": Should(error=r"d.jsonl:1: id_column 'id' holds 'x\ud83d': half a character")},
        tables("d.jsonl") | {"id_column": "id"},
        code=LOADED,
        files={"d.jsonl": '{"id": "x\\ud83d", "q": "a", "answer": "a"}\n{"id": "y", "q": "b", "answer": "c"}\n'},
        unloaded=True,
    ),
    "NaN-reference-is-found-after-inference": Case(
        {
            "m/nan": Should(error="nan.jsonl:3: label missing: 'answer' is NaN"),
            "m/inf": Should(error="inf.jsonl:2: label missing: 'answer' is -Infinity"),
        },
        tables("nan.jsonl", "inf.jsonl"),
        code=LOADED,
        files={"nan.jsonl": rows(a="a", b="b", c=math.nan), "inf.jsonl": rows(a="a", b=-math.inf)},
        unloaded=True,
    ),
    "ids-of-evalrun-list-cannot-be-pasted": Case(
        {pair: Should({"exact_match": 1}) for pair in ("ünï/数据", "a\\b/数据", "plain/数据")},
        models(**{"ünï": {}, "a\\b": {}, "plain": {}}) | tables(数据="d.jsonl"),
        files={"d.jsonl": rows(a="a")},
    ),
    "empty-answer-is-refused": Case(
        {"m/d": Should({"exact_match": 1}), "m/null": Should(error="null.jsonl:2: label missing: 'answer' is null")},
        tables("d.jsonl", "null.jsonl"),
        files={"d.jsonl": '{"q": "a", "answer": "a"}\n{"q": "", "answer": ""}\n', "null.jsonl": rows(a="a", b=None)},
    ),
    "labels-file-with-another-delimiter": Case(
        {
            "m/tabs": Should({"top1": 1}),
            "m/told": Should({"top1": 1}),
            "m/untold": Should(error="(the delimiter is ','; another by reader: {delimiter: ...})"),
        },
        files("tabs", "told", "untold")
        | {
            "labels": "labels.csv",
            "metrics": ["top1"],
            "overrides": [
                {"match": "*/tabs", "labels": "labels.tsv"},
                {"match": "*/told", "reader": {"delimiter": ";"}},
            ],
        },
        code=CATS,
        files={
            **{f"{name}/a.txt": "x" for name in ("tabs", "told", "untold")},
            "tabs/labels.tsv": "id\tlabel\na.txt\tcat\n",
            "told/labels.csv": "id;label\na.txt;cat\n",
            "untold/labels.csv": "id;label\na.txt;cat\n",
        },
    ),
    "exif-orientation-is-ignored": Case(
        {
            "stored/d": Should({"top1": 0}, log="phone.jpg: its EXIF orientation is not applied"),
            "turned/d": Should({"top1": 1}),
        },
        onnx_models(
            stored={"preprocess": {"input": "image"}}, turned={"preprocess": {"input": "image", "orient": "exif"}}
        )
        | files("d")
        | {
            "labels": "labels.csv",
            "output": {"kind": "class", "labels": ["top", "bottom", "left", "right"]},
            "metrics": ["top1"],
        },
        files={
            "m.onnx": graph(HALVES),
            "d/phone.jpg": image(BOTTOM, orientation=6),  # every viewer turns it, so that the bright half is left
            "d/labels.csv": "id,label\nphone.jpg,left\n",
        },
    ),
    "blanks-around-a-label": Case(
        {
            "m/d": Should({"top1": 0.25, "exact_match": 0.25}, log="3 labels begin or end with a blank"),
            "strip/d": Should({"top1": 1, "exact_match": 1}),
        },
        models(m={}, strip={"metrics": [{"top1": {"strip": True}}, {"exact_match": {"strip": True}}]})
        | tables("d.csv")
        | {"metrics": ["top1", "exact_match"]},
        code=CATS,
        files={"d.csv": "q,answer\n1, cat\n2,cat \n3,cat\n4,cat \n"},
    ),
    "deeply-nested-line": Case(
        {"m/d": Should(error="d.jsonl:1: not a line of JSON that can be read: nested too deeply")},
        tables("d.jsonl"),
        files={"d.jsonl": f'{{"q": "a", "answer": "a", "x": {DEEP}}}\n'},
    ),
}
LIMITED = "nothing-predicted-is-PASSED"
PASTED = "ids-of-evalrun-list-cannot-be-pasted"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """All cases in two launches: one of all but two; one of the first ten samples, and of ids as they are listed."""
    project = Project(tmp_path_factory.mktemp("cases"))
    (project.root / "pytest.ini").write_text("[pytest]\n")
    for name, case in CASES.items():
        (project.root / name).mkdir()
        case.make(project.root / name)
    project.run(*(name for name in CASES if name not in (LIMITED, PASTED)))
    listed = project.evalrun("list", "--ids", PASTED)[1].splitlines()[1:]
    project.run(LIMITED, *(line.split()[1] for line in listed), "--eval-limit", "10")
    return project


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_right(ran, name):
    """The metrics, or a sentence that says whose fault it is and where, and what the log says; before a model loads."""
    case = CASES[name]
    kind = ".limit-10" if name in (LIMITED, PASTED) else ""
    for pair, should in case.should.items():
        task, dataset = pair.split("/")
        result = json.loads((ran.latest / "results" / name / task / f"{dataset}{kind}.json").read_text())
        error = result["environment"].get("error", "")
        assert result["status"] == ("error" if should.error else "passed"), error
        assert {metric: value["value"] for metric, value in result["metrics"].items()} == pytest.approx(should.metrics)
        assert should.error in error
        assert "Traceback" not in error
        logs = (ran.latest / "logs").rglob(f"{name}/{task}/{dataset}{kind}.log")
        assert should.log in "".join(log.read_text() for log in logs)
    assert not (case.unloaded and (ran.root / name / "loaded").exists())
