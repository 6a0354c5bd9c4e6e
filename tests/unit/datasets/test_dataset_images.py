from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pytest_evalrun.datasets.images import read_image, write_png
from pytest_evalrun.errors import SampleError

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


@pytest.mark.parametrize("array", [RAMP, RAMP[:, :, 0], RAMP[:, :, :1]], ids=["rgb", "gray", "one channel"])
def test_uint8_survives(tmp_path, array):
    """What was written as uint8 is read back to the last bit."""
    write_png(tmp_path / "a.png", array)
    assert np.array_equal(read_image(tmp_path / "a.png"), array.squeeze())


WRITTEN = {
    "floats are 0..1": (np.array([[0.0, 0.5, 1.0, 2.0, -1.0]]), [0, 128, 255, 255, 0]),
    "half floats too": (np.array([[0.0, 1.0]], dtype=np.float16), [0, 255]),
    "integers are 0..255": (np.array([[-5, 7, 300]]), [0, 7, 255]),
    "booleans are black and white": (np.array([[True, False]]), [255, 0]),
}


@pytest.mark.parametrize(("array", "pixels"), WRITTEN.values(), ids=WRITTEN)
def test_other_types_are_scaled_and_clipped(tmp_path, array, pixels):
    """Nothing wraps around."""
    write_png(tmp_path / "a.png", array)
    assert read_image(tmp_path / "a.png")[0].tolist() == pixels


REFUSED = {
    "vector": (np.zeros(3), "shape 3 is no image"),
    "five channels": (np.zeros((2, 2, 5)), "shape 2 x 2 x 5 is no image"),
    "NaN": (np.array([[np.nan]]), "holds NaN"),
    "text": (np.array([["a"]]), "an image of <U1"),
}


@pytest.mark.parametrize(("array", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_image_is_refused(tmp_path, array, message):
    """The file and the shape are named."""
    with pytest.raises(SampleError, match=message):
        write_png(tmp_path / "a.png", array)


def save(path, mode, size=(2, 2)):
    Image.new(mode, size, 1).save(path)
    return path


MODES = {"1": 2, "L": 2, "LA": 2, "P": 3, "RGB": 3, "RGBA": 3, "I;16": 2}


@pytest.mark.parametrize(("mode", "ndim"), MODES.items(), ids=MODES)
def test_every_mode_is_gray_or_rgb(tmp_path, mode, ndim):
    """Taken as it is, asked for gray, or asked for rgb: always uint8 of the shape that was asked for."""
    path = save(tmp_path / "a.png", mode)
    assert read_image(path).ndim == ndim
    assert read_image(path, "gray").shape == (2, 2)
    assert read_image(path, "rgb").shape == (2, 2, 3)
    assert read_image(path).dtype == np.uint8


def test_sixteen_bits_are_scaled(tmp_path):
    """White stays white and middle gray middle gray."""
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[0, 128, 255]]


def test_resize(tmp_path):
    """The size is height, width."""
    assert read_image(save(tmp_path / "a.png", "RGB", (5, 9)), size=(3, 4)).shape == (3, 4, 3)


def test_unreadable_images_are_named(tmp_path):
    """Empty, no image, cut off, missing, a directory, floating point: an error of the sample that names the file."""
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "directory.png").mkdir()
    Image.new("F", (2, 2)).save(tmp_path / "float.tiff")
    for name in ("empty.png", "text.png", "cut.png", "missing.png", "directory.png", "float.tiff"):
        with pytest.raises(SampleError, match=f"{name}: not a readable image: "):
            read_image(tmp_path / name)
