"""Files that a model wrote are believed by content only: what is gone or changed is asked again, never scored."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import skimage  # which imports its parts when they are used
from PIL import Image
from pixels import noise

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.context import EvalrunWarning

MODEL = """
import numpy as np
from pathlib import Path

class Model:
    def __init__(self, path=None, deep=False):
        self.deep = deep

    def predict(self, batch):
        with (Path(__file__).parent / "asked.txt").open("a") as file:
            file.writelines(f"{sample.id}\\n" for sample in batch)
        images = [np.full((4, 4), sample.input, np.uint8) for sample in batch]
        return [{"parts": [image]} for image in images] if self.deep else images
"""
METRICS = """
from PIL import Image

def right(prediction, reference):
    if isinstance(prediction, dict):
        return 1.0
    return float(Image.open(prediction).getpixel((0, 0)) == reference)

again = right
"""


@pytest.fixture(params=[False, True], ids=["an image", "images in a structure"])
def pairs(request, shop):
    """The same pair before and after a metric changed, which scores it again."""
    (shop.root / "model.py").write_text(MODEL)
    (shop.root / "m.py").write_text(METRICS)
    shop.data(count=4)
    return [shop.pair(metrics=[f"./m.py:{name}"], params={"deep": request.param}) for name in ("right", "again")]


def _image(evaluator, sample):
    (found,) = (evaluator.run / "outputs").rglob(f"{sample}*.png")
    return found


def _gone(image, other):
    image.unlink()


def _another(image, other):
    image.write_bytes(other.read_bytes())


@pytest.mark.parametrize("harm", [_gone, _another])
def test_a_file_that_is_not_what_the_model_wrote_is_made_again(shop, evaluator, pairs, harm):
    """Only its sample is asked, and the score is that of an undisturbed run."""
    before, after = pairs
    assert evaluator(before).metrics["right"] == 1
    shop.asked()
    harm(_image(evaluator, "s1"), _image(evaluator, "s2"))
    with pytest.warns(EvalrunWarning, match="files of 1 predictions are gone or changed"):
        assert evaluator(after).metrics["again"] == 1
    assert shop.asked() == ["s1"]
    lines = (evaluator.run / "predictions/letters/echo/clean.jsonl").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == [f'{{"index":{i}' for i in range(4)]


def test_eval_does_not_score_what_is_gone(shop, evaluator, pairs):
    """Without the model nobody can make it again: an ERROR that says so."""
    before, after = pairs
    evaluator(before)
    _image(evaluator, "s3").unlink()
    with pytest.warns(EvalrunWarning), pytest.raises(PairError, match="3 of 4 samples are predicted"):
        evaluator(after, mode="eval")


def test_a_reused_pair_looks_at_no_file(shop, evaluator, pairs):
    """Its result stands, whatever became of the files behind it."""
    before, _ = pairs
    evaluator(before)
    _image(evaluator, "s0").unlink()
    assert evaluator(before).reused


ANSWERS = {
    "as they were read": "pixels",
    "floats": "(pixels / 65535).astype(np.float32)",
    "wide integers": "pixels.astype(np.int64)",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_sixteen_bits_are_scored_at_sixteen_bits(shop, evaluator, answer):
    """From the files of a dataset to the result nothing is rounded: the value is that of the pixels themselves."""
    noisy, clean = noise(1, "uint16"), noise(2, "uint16")
    for name, pixels in (("noisy", noisy), ("clean", clean)):
        (shop.root / "data" / "clean.jsonl" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(shop.root / "data" / "clean.jsonl" / name / "a.png")
    (shop.root / "deep.py").write_text(
        "import numpy as np\nfrom PIL import Image\n\n"
        "def predict(batch):\n    return [answer(np.asarray(Image.open(sample.input))) for sample in batch]\n\n"
        f"def answer(pixels):\n    return {answer}\n"
    )
    files = {"format": "files", "in_subdir": "noisy", "references": "clean"}
    pair = shop.pair(adapter="./deep.py:predict", metrics=["psnr"], **files)
    pair = replace(pair, task=replace(pair.task, path=None))
    expected = skimage.metrics.peak_signal_noise_ratio(clean, noisy, data_range=65535)
    assert evaluator(pair).metrics["psnr"] == pytest.approx(expected)


def test_planes_of_an_item_of_two_files_are_scored(shop, evaluator):
    """An answer is held against the plane of its name, and the line says which files the reference has."""
    place = shop.root / "data" / "clean.jsonl"
    noisy, clean = noise(1, "uint8"), noise(2, "uint8")
    for name, pixels in (("noisy", noisy), ("clean", clean)):
        (place / name).mkdir(parents=True)
        pixels.tofile(place / name / "a_y.bin")
        pixels[::2].tofile(place / name / "a_uv.bin")
    (shop.root / "deep.py").write_text("def predict(batch):\n    return [s.input['_y.bin'] for s in batch]\n")
    raw = {"input": "raw", "shape": [*noisy.shape], "raw_dtype": "uint8"}
    files = {"format": "files", "in_subdir": "noisy", "references": "clean", "suffixes": ["_y.bin", "_uv.bin"]}
    pair = shop.pair(adapter="./deep.py:predict", metrics=["psnr"], preprocess=raw, **files)
    pair = replace(pair, task=replace(pair.task, path=None))
    expected = skimage.metrics.peak_signal_noise_ratio(clean, noisy, data_range=255)
    assert evaluator(pair).metrics["psnr"] == pytest.approx(expected)
    (line,) = (evaluator.run / "predictions/letters/echo/clean.jsonl").read_text().splitlines()
    assert json.loads(line)["reference"] == {"_y.bin": "clean/a_y.bin", "_uv.bin": "clean/a_uv.bin"}
    assert evaluator(pair).reused
