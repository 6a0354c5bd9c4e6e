"""Samples by pages: what the files say, filtered, sorted and searched, whatever their number."""

from __future__ import annotations

import json
import math

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.evaluation.origins import Origin
from pytest_evalrun.monitor.web import samplepages
from pytest_evalrun.monitor.web.choosing import SampleQuery
from pytest_evalrun.monitor.web.found import FoundPairs
from pytest_evalrun.monitor.web.samplepages import PAGE_SIZE, SamplePages
from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.report.html.fragments import SampleSource
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.suite.pairs import PairKey
from pytest_evalrun.suite.secrets import Secrets

KEY = PairKey("echo", "a", "one")
TOTAL = 137


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def prediction(index, **more):
    head = {"index": index, "id": f"s{index}", "status": "ok", "prediction": f"answer {index}"}
    return head | {"reference": f"label {index}", "error": None, "seconds": 0.01} | more


def score(index, **scores):
    return {"index": index, "id": f"s{index}", **scores}


def write_result(files, metrics):
    values = {
        **dict(zip(("suite", "task", "dataset"), files.key, strict=True)),
        "status": "passed",
        "metrics": {name: {"value": 0.5, "n": 1, "better": better} for name, better in metrics.items()},
        "samples": {"total": 1, "predicted": 1, "failed": 0, "reused": 0},
        **{name: {} for name in ("seconds", "fingerprint", "environment")},
        "gates": [],
    }
    files.result.parent.mkdir(parents=True, exist_ok=True)
    files.result.write_text(json.dumps(values))


class Scored:
    """A pair whose sample ``i`` is wrong for every third and fails for every tenth; its error is ``i * 7 % 13``."""

    def __init__(self, root):
        self.paths = RunPaths(root)
        self.files = self.paths.pair(KEY)
        self.lines = [prediction(i) if i % 10 else self._failed(i) for i in range(TOTAL)]
        self.scores = [score(i, top1=int(i % 3 > 0), mae=i * 7 % 13) for i in range(TOTAL) if i % 10]
        write_lines(self.files.predictions, self.lines)
        write_lines(self.files.scores, self.scores)
        write_result(self.files, {"top1": "higher", "mae": "lower"})

    @staticmethod
    def _failed(index):
        return prediction(index, status="failed", prediction=None, error="Broken pipe")

    @property
    def found(self):
        return FoundPairs(self.paths).find(anchor_of(KEY))

    def indexes(self, pages=None, **query):
        """The indexes of all pages of a query, in their order."""
        pages = pages or SamplePages(lambda _: SampleSource(), str)
        found, number = [], 1
        while True:
            page = pages.page(self.found, SampleQuery(**query), number)
            assert page["page"] == number
            assert len(page["samples"]) <= PAGE_SIZE
            found += [sample["i"] for sample in page["samples"]]
            if number == page["pages"]:
                assert page["total"] == len(found)
                return found
            number += 1


@pytest.fixture
def scored(tmp_path):
    return Scored(tmp_path / "run")


def test_pages_are_the_files(scored):
    """All pages together are every line of the predictions with its scores, in dataset order."""
    pages = SamplePages(lambda _: SampleSource(), str)
    found = [s for n in (1, 2, 3) for s in pages.page(scored.found, SampleQuery(), n)["samples"]]
    scores = {line["index"]: {"top1": line["top1"], "mae": line["mae"]} for line in scored.scores}
    told = [(s["i"], s["id"], s["failed"], s["prediction"].get("text"), s["error"], s["scores"]) for s in found]
    assert told == [
        (i, f"s{i}", not i % 10, None if not i % 10 else f"answer {i}", line["error"], scores.get(i, {}))
        for i, line in enumerate(scored.lines)
    ]


def test_filters(scored):
    """Wrong are those that a right-or-wrong metric says so of, failed those without an answer; the ends are sorted."""
    assert scored.indexes(filter="wrong") == [i for i in range(TOTAL) if i % 10 and i % 3 == 0]
    assert scored.indexes(filter="failed") == list(range(0, TOTAL, 10))
    ranked = sorted((i for i in range(TOTAL) if i % 10), key=lambda i: i * 7 % 13)
    assert scored.indexes(filter="best", metric="mae") == ranked
    ranked = sorted((i for i in range(TOTAL) if i % 10), key=lambda i: -(i * 7 % 13))
    assert scored.indexes(filter="worst", metric="mae") == ranked
    assert scored.indexes(filter="wrong", metric="mae") == []
    assert scored.indexes(filter="best", metric="unknown") == []


def test_first_metric_that_fits_is_meant(scored):
    """Where none is named: of the result's order, for wrong one that is right or wrong."""
    write_result(scored.files, {"mae": "lower", "top1": "higher"})
    assert scored.indexes(filter="wrong") == scored.indexes(filter="wrong", metric="top1")
    assert scored.indexes(filter="worst") == scored.indexes(filter="worst", metric="mae")


def test_less_may_be_better(tmp_path):
    """Of a metric that says 1 of what is wrong, that is wrong."""
    pair = Scored(tmp_path / "run")
    write_result(pair.files, {"top1": "lower", "mae": "lower"})
    assert pair.indexes(filter="wrong", metric="top1") == [i for i in range(TOTAL) if i % 10 and i % 3]


def test_search_looks_at_all_that_is_shown(scored):
    """Ids, answers, labels, errors and what was asked, whatever the case; within a filter, too."""
    inputs = Inputs(samples=lambda: ((f"s{i}", f"Question {i} of many") for i in range(TOTAL)))
    pages = SamplePages(lambda _: SampleSource(inputs), str)
    assert scored.indexes(pages, text="ANSWER 13") == [13, 131, 132, 133, 134, 135, 136]
    assert scored.indexes(pages, text="broken") == list(range(0, TOTAL, 10))
    assert scored.indexes(pages, text="question 42 OF") == [42]
    assert scored.indexes(pages, text="label 7", filter="wrong") == [72, 75, 78]
    assert scored.indexes(pages, text="s13", filter="worst", metric="mae") == [
        i for i in scored.indexes(filter="worst", metric="mae") if str(i).startswith("13")
    ]
    assert scored.indexes(pages, text="nowhere") == []


def test_inputs_stand_beside_their_samples(scored):
    """By the dataset as it is now; of a sample that is another by now there is none."""
    inputs = Inputs(("x", "y"), lambda: ((f"s{i}" if i != 5 else "new", {"x": i, "y": "b"}) for i in range(TOTAL)))
    page = SamplePages(lambda _: SampleSource(inputs), str).page(scored.found, SampleQuery(filter="worst"), 1)
    for sample in page["samples"]:
        part = {"kind": "number", "text": str(sample["i"])}
        expected = [{"name": "x", "part": part}, {"name": "y", "part": {"kind": "text", "text": "b"}}]
        assert sample["inputs"] == ([] if sample["i"] == 5 else expected)


def test_several_answers_to_one_sample(tmp_path):
    """Each is a sample of its own, with its own scores, wherever its line stands in the file."""
    pair = Scored(tmp_path / "run")
    lines = [prediction(i, generation=g, prediction=f"{i}-{g}") for i in range(3) for g in range(2)]
    write_lines(pair.files.predictions, reversed(lines))
    write_lines(pair.files.scores, [score(i, generation=g, top1=g) for i in range(3) for g in range(2)])
    page = SamplePages(lambda _: SampleSource(), str).page(pair.found, SampleQuery(filter="wrong"), 1)
    assert [(s["i"], s["g"], s["prediction"]["text"], s["scores"]) for s in page["samples"]] == [
        (i, 0, f"{i}-0", {"top1": 0}) for i in range(3)
    ]


def test_flips_against_another_run(scored, tmp_path):
    """Samples that a right-or-wrong metric judges otherwise than before, and which way; replaced ones are none."""
    before = RunPaths(tmp_path / "before").pair(KEY)
    old = [score(i, top1=int(i % 2 > 0), mae=0) for i in range(TOTAL)]
    old[3]["id"] = "other"
    write_lines(before.scores, old)
    pages = SamplePages(lambda _: SampleSource(), str, lambda _: before)
    flipped = [i for i in range(TOTAL) if i % 10 and i != 3 and (i % 3 > 0) != (i % 2 > 0)]
    assert scored.indexes(pages, filter="flipped") == flipped == scored.indexes(pages, filter="flipped", metric="top1")
    assert scored.indexes(pages, filter="flipped", metric="mae") == []
    assert scored.indexes(filter="flipped") == []
    samples = pages.page(scored.found, SampleQuery(), 1)["samples"]
    assert {s["i"]: s["flip"]["top1"] for s in samples if s["flip"]} == {
        i: "won" if i % 3 else "lost" for i in flipped if i < PAGE_SIZE
    }


def test_growing_file_is_read_anew(scored):
    """What was appended is seen by the next who asks; half a line is none yet."""
    pages = SamplePages(lambda _: SampleSource(), str)
    assert pages.page(scored.found, SampleQuery(), 1)["total"] == TOTAL
    with scored.files.predictions.open("a") as file:
        file.write(json.dumps(prediction(TOTAL)) + "\n" + '{"index": 99')
    page = pages.page(scored.found, SampleQuery(), 99)
    assert (page["total"], page["page"], page["pages"]) == (TOTAL + 1, 3, math.ceil((TOTAL + 1) / PAGE_SIZE))


def test_pair_that_is_predicted_anew(scored):
    """Its scores are those of before, and of more samples: those that are there are shown, whatever the filter."""
    write_lines(scored.files.predictions, [prediction(i) for i in range(7)])
    assert scored.indexes(filter="wrong") == [3, 6]
    assert scored.indexes(filter="worst", metric="top1") == [3, 6, 1, 2, 4, 5]


def test_nothing_yet(tmp_path):
    """A pair without predictions has one page, and nothing on it; one without scores has no wrong answers."""
    pair = Scored(tmp_path / "run")
    pair.files.scores.unlink()
    assert pair.indexes() == list(range(TOTAL))
    assert pair.indexes(filter="wrong") == pair.indexes(filter="best") == []
    pair.files.predictions.unlink()
    page = SamplePages(lambda _: SampleSource(), str).page(pair.found, SampleQuery(), 5)
    assert page == {"total": 0, "page": 1, "pages": 1, "samples": []}


def test_memory_is_bounded(scored, monkeypatch):
    """What was chosen once is forgotten where too much is remembered; the same is told again."""
    pages = SamplePages(lambda _: SampleSource(), str)
    monkeypatch.setattr(samplepages, "MOST_REMEMBERED", 2500)
    first = scored.indexes(pages, filter="worst", metric="mae")
    for text in (f"answer {number}" for number in range(1, 10)):
        scored.indexes(pages, text=text)
    (known,) = pages._known.values()
    assert len(known.chosen) < 9
    assert known.size <= 2500
    assert scored.indexes(pages, filter="worst", metric="mae") == first


@pytest.mark.parametrize("query", [{"filter": "odd"}, {"text": "x" * 201}])
def test_query_that_is_none(query):
    """What is accepted is named."""
    with pytest.raises(ConfigError, match="accepted: "):
        SampleQuery(**query)


def test_samples_by_the_page(scored, show):
    """The call has the words of the page: filter, metric, q, page."""
    shown = show(_as_run(scored.paths))
    query = f"/api/samples?anchor={anchor_of(KEY)}"
    status, told = shown.json(f"{query}&filter=worst&metric=mae&q=1&page=2")
    assert status == 200
    pages = SamplePages(lambda _: SampleSource(), str)
    expected = pages.page(scored.found, SampleQuery("worst", "mae", "1"), 2)
    assert [s["id"] for s in told["samples"]] == [s["id"] for s in expected["samples"]]
    assert told["total"] == expected["total"]
    assert shown.json(f"{query}&filter=odd")[0] == 404
    assert shown.json(f"{query}&page=x")[0] == 400
    assert shown.json("/api/samples?anchor=p0")[0] == 404


def test_pictures_of_samples_are_linked(scored, show, tmp_path):
    """A picture that a sample names is shown by a link that only this server makes; other files are saved."""
    picture, other = tmp_path / "data" / "a.png", tmp_path / "data" / "a.svg"
    picture.parent.mkdir()
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (3).to_bytes(4) + (2).to_bytes(4))
    other.write_text("<svg/>")
    asked = Origin(("x", "y"), lambda: ((f"s{i}", {"x": picture, "y": other}) for i in range(TOTAL)), tmp_path, None)
    shown = show(_as_run(scored.paths), lambda _: asked)
    sample = shown.json(f"/api/samples?anchor={anchor_of(KEY)}&q=s7")[1]["samples"][0]
    image, file = (each["part"] for each in sample["inputs"])
    assert (image["kind"], image["width"], image["height"]) == ("image", 3, 2)
    status, headers, body = shown.ask(image["src"])
    assert (status, headers["Content-Type"], body) == (200, "image/png", picture.read_bytes())
    picture.unlink()
    picture.symlink_to(other)
    assert shown.ask(image["src"])[0] == 404
    assert (file["kind"], file["name"]) == ("file", "a.svg")
    status, headers, _ = shown.ask(file["href"])
    assert (status, headers["Content-Disposition"].partition(";")[0]) == (200, "attachment")


def _as_run(paths):
    paths.run_json.write_text('{"format": 1}')
    return paths


def test_secrets_are_blanked(scored):
    """What a model said before anybody called it a secret is not shown."""
    with scored.files.predictions.open("a") as file:
        file.write(json.dumps(prediction(TOTAL, prediction="the key is sk-0123456789abcdef")) + "\n")
    pages = SamplePages(lambda _: SampleSource(), str, secrets=lambda: Secrets(("sk-0123456789abcdef",)))
    sample = pages.page(scored.found, SampleQuery(text="the key"), 1)["samples"][0]
    assert sample["prediction"]["text"] == "the key is ***"
