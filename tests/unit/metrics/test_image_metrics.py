"""Rules of the metrics on images."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pytest_evalrun.datasets.images import write_png
from pytest_evalrun.errors import PairError
from pytest_evalrun.metrics.images import MAX_PSNR, Psnr, Ssim

ALL = pytest.mark.parametrize("metric", [Psnr, Ssim], ids=lambda made: made.name)


@pytest.fixture
def image(tmp_path):
    """Makes an image file of a shape, noise of a seed, in a directory with an odd name."""
    place = tmp_path / "it's $(x) 图"
    place.mkdir()

    def make(name, shape, seed=0):
        path = place / name
        write_png(path, np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
        return path

    return make


def pixels(seed, shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_psnr_is_the_mean_over_samples(image):
    """Each sample has its own score, the metric is their mean."""
    paths = [image(f"{seed}.png", (9, 9), seed) for seed in range(4)]
    metric = Psnr()
    scores = metric.update(paths[:2], paths[2:])
    expected = [peak_signal_noise_ratio(pixels(i + 2, (9, 9)), pixels(i, (9, 9)), data_range=255) for i in range(2)]
    assert scores == pytest.approx(expected)
    result = metric.result()
    assert (result.value, result.n, result.better) == (pytest.approx(sum(expected) / 2), 2, "higher")


def test_data_range_is_what_the_peak_is(image):
    """A parameter of the metric reaches the library."""
    left, right = image("a.png", (9, 9), 1), image("b.png", (9, 9), 2)
    assert Psnr(data_range=510).update([left], [right])[0] > Psnr().update([left], [right])[0]


def test_identical_images_have_a_finite_psnr(image):
    """Infinity is no JSON: the ratio of identical images is 100 dB."""
    path = image("a.png", (9, 9, 3))
    metric = Psnr()
    assert metric.update([path], [path]) == [MAX_PSNR]
    assert metric.result().high == MAX_PSNR


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        pytest.param((16, 16, 3), 7, id="rgb"),
        pytest.param((7, 40), 7, id="just-fits"),
        pytest.param((6, 6), 5, id="six"),
        pytest.param((3, 9), 3, id="three"),
        pytest.param((4, 4, 3), 3, id="four-rgb"),
    ],
)
def test_ssim_window_fits_the_image(image, shape, window):
    """The window is 7, or the largest odd number of pixels that a small image has."""
    expected = structural_similarity(
        pixels(2, shape),
        pixels(1, shape),
        data_range=255,
        win_size=window,
        channel_axis=-1 if len(shape) == 3 else None,
    )
    assert Ssim().update([image("a.png", shape, 1)], [image("b.png", shape, 2)]) == [pytest.approx(expected)]


def test_ssim_of_a_line_is_refused(image):
    """Below 3 pixels there is no structure to compare."""
    path = image("a.png", (2, 9))
    with pytest.raises(PairError, match="metric ssim: the images are 2 x 9; it needs at least 3 x 3"):
        Ssim().update([path], [path])


@ALL
def test_shapes_must_agree(image, metric):
    """Two shapes cannot be compared: the message names both files and both shapes."""
    left, right = image("left.png", (9, 9), 1), image("right.png", (9, 8, 3), 2)
    with pytest.raises(PairError) as error:
        metric().update([left], [right])
    assert f"{left} is 9 x 9, its reference {right} is 9 x 8 x 3" in str(error.value)


@ALL
def test_unreadable_image(image, tmp_path, metric):
    """A file that is no image, or is not there, is named."""
    good, broken = image("a.png", (9, 9)), tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    for role, pair in (("prediction", (broken, good)), ("reference", (good, tmp_path / "missing.png"))):
        with pytest.raises(
            PairError, match=rf"metric {metric.name}: the {role} cannot be read: .*(broken|missing)\.png"
        ):
            metric().update([pair[0]], [pair[1]])


@ALL
def test_unfit(image, metric):
    """A prediction that is no file, and a missing reference, say what is needed."""
    path = image("a.png", (9, 9))
    with pytest.raises(
        PairError, match=f"metric {metric.name}: the prediction is text 'a.png'; it needs an image file"
    ):
        metric().update(["a.png"], [path])
    with pytest.raises(PairError, match=f"metric {metric.name}: a sample has no reference"):
        metric().update([path], [None])
