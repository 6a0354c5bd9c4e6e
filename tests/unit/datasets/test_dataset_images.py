from __future__ import annotations

import struct
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image
from pixels import deep_png, noise

from pytest_evalrun.datasets.images import NOT_BLENDED, NOT_TURNED, read_image, write_image
from pytest_evalrun.errors import SampleError

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


KEPT = {
    "rgb": (RAMP, ".png"),
    "rgba": (np.dstack([RAMP, RAMP[:, :, :1]]), ".png"),
    "gray": (RAMP[:, :, 0], ".png"),
    "one channel": (RAMP[:, :, :1], ".png"),
    "16 bits": (noise(0, "uint16"), ".png"),
    "16 bits, big-endian": (noise(0, "uint16").astype(">u2"), ".png"),
    "16 bits, rgb": (noise(0, "uint16", (4, 4, 3)), ".npy"),
    "32 bits": (noise(0, "int32") - 50_000, ".npy"),
    "64 bits": (noise(0, "int64") * 2**40, ".npy"),
    "signed 8 bits": (noise(0, "int8"), ".npy"),
    "floats": (noise(0, "float32", (4, 4, 3)) * 3 - 1, ".npy"),
    "floats, big-endian": (noise(0, "float64").astype(">f8"), ".npy"),
    "half floats": (noise(0, "float16"), ".npy"),
}


@pytest.mark.parametrize(("array", "ending"), KEPT.values(), ids=KEPT)
def test_what_was_written_is_read(tmp_path, array, ending):
    """Every type of numbers comes back to the last bit, as an image that people can look at where there is one."""
    path = write_image(tmp_path / "a.b", array)
    assert path.name == f"a.b{ending}"
    found = read_image(path)
    wanted = array.squeeze()[:, :, :3] if path.suffix == ".png" and array.shape[2:] == (4,) else array.squeeze()
    assert np.array_equal(found, wanted)
    assert found.dtype == array.dtype.newbyteorder("=")


def test_truth_is_black_and_white(tmp_path):
    """Wherever it lies."""
    truth = np.array([[True, False]])
    np.save(tmp_path / "b.NPY", truth)
    (tmp_path / "b.NPY.npy").rename(tmp_path / "b.NPY")
    for path in (write_image(tmp_path / "a", truth), tmp_path / "b.NPY"):
        assert read_image(path).tolist() == [[255, 0]]
        assert read_image(path).dtype == np.uint8


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
        write_image(tmp_path / "a", array)


UNREADABLE = {
    "vector": (np.zeros(3), None, "3 of float64 is not an image"),
    "text": (np.array([["a"]]), None, "of <U1 is not an image"),
    "two channels": (np.zeros((2, 2, 2)), "rgb", "2 x 2 x 2 of float64 is not an image in rgb"),
    "nothing": (np.zeros((0, 2)), None, "the array is empty"),
}


@pytest.mark.parametrize(("array", "color", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_arrays_that_are_no_images(tmp_path, array, color, message):
    """A .npy file may hold anything: the file, the shape and the type are named."""
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SampleError, match=f"a.npy: .*{message}"):
        read_image(tmp_path / "a.npy", color)


def save(path, mode, size=(2, 2)):
    Image.new(mode, size, 1).save(path)
    return path


MODES = {"1": 2, "L": 2, "LA": 2, "P": 3, "RGB": 3, "RGBA": 3, "CMYK": 3}


@pytest.mark.parametrize(("mode", "ndim"), MODES.items(), ids=MODES)
def test_every_mode_is_gray_or_rgb(tmp_path, mode, ndim):
    """Taken as it is, asked for gray, or asked for rgb: always uint8 of the shape that was asked for."""
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), mode)
    assert read_image(path).ndim == ndim
    assert read_image(path, "gray").shape == (2, 2)
    assert read_image(path, "rgb").shape == (2, 2, 3)
    assert read_image(path).dtype == np.uint8


def tiff(path, array, **how):
    tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack", **how)
    return path


def pgm(path, array):
    path.write_bytes(b"P5 9 9 65535\n" + array.astype(">u2").tobytes())
    return path


def pillow(path, array):
    Image.fromarray(array).save(path, **({"compression": "tiff_lzw"} if path.suffix == ".tif" else {}))
    return path


DEEP = {
    "gray PNG": (pillow, "a.png", noise(0, "uint16")),
    "gray PGM": (pgm, "a.pgm", noise(0, "uint16")),
    "gray JPEG 2000": (pillow, "a.jp2", noise(0, "uint16")),
    "gray TIFF": (tiff, "a.tif", noise(0, "uint16")),
    "gray TIFF, compressed": (pillow, "a.tif", noise(0, "uint16")),
    "big-endian TIFF": (partial(tiff, byteorder=">"), "a.TIF", noise(0, "uint16")),
    "signed TIFF": (tiff, "a.tif", (noise(0, "int32") - 30_000).clip(-32768, 32767).astype(np.int16)),
    "32-bit TIFF": (tiff, "a.tif", noise(0, "int32") * -20_000),
    "unsigned 32-bit TIFF": (tiff, "a.tif", noise(0, "uint32") * 42_949),
    "float TIFF": (tiff, "a.tif", noise(0, "float32") * 7 - 3),
    "rgb PNG": (deep_png, "a.PNG", noise(0, "uint16", (9, 9, 3))),
    "rgba PNG": (deep_png, "a.png", noise(0, "uint16", (9, 9, 4))),
    "rgb TIFF": (tiff, "a.tif", noise(0, "uint16", (9, 9, 3))),
    "big-endian rgb TIFF": (partial(tiff, byteorder=">"), "a.tif", noise(0, "uint16", (9, 9, 3))),
    "rgb TIFF, compressed": (partial(tiff, compression="zlib"), "a.tif", noise(0, "uint16", (9, 9, 3))),
    "rgb TIFF in tiles": (partial(tiff, tile=(16, 16)), "a.tif", noise(0, "uint16", (40, 40, 3))),
}


@pytest.mark.parametrize(("write", "name", "array"), DEEP.values(), ids=DEEP)
def test_the_depth_of_a_file_is_kept(tmp_path, write, name, array):
    """More than eight bits stay what they are, asked for as they are, as gray or as rgb."""
    path = write(tmp_path / name, array)
    wanted = array[:, :, :3] if array.ndim == 3 else array
    found = read_image(path)
    assert np.array_equal(found, wanted)
    assert {found.dtype, read_image(path, "gray").dtype, read_image(path, "rgb", (5, 4)).dtype} == {array.dtype}
    assert np.array_equal(read_image(path, "rgb"), wanted if array.ndim == 3 else np.dstack([wanted] * 3))
    assert read_image(path, "gray", (5, 4)).shape == (5, 4)


def test_deep_colors_are_mixed_and_resized_as_eight_bits_are(tmp_path):
    """A picture is the same picture at 8 and at 16 bits, but for the rounding."""
    colors = noise(0, "uint8", (40, 30, 3))
    Image.fromarray(colors).save(tmp_path / "8.png")
    deep_png(tmp_path / "16.png", colors.astype(np.uint16) * 257)
    np.save(tmp_path / "f.npy", colors / 255)
    for color, size in (("gray", None), ("rgb", (7, 50)), ("gray", (7, 50)), (None, (20, 20))):
        shallow, deep, floats = (read_image(tmp_path / n, color, size) for n in ("8.png", "16.png", "f.npy"))
        assert np.abs(shallow - deep / 257).max() <= 1
        assert np.abs(deep / 65535 - floats).max() < 1e-4


def test_deep_colors_that_cannot_be_read_are_refused(tmp_path):
    """Half of their bits would be no image that anybody meant."""
    (tmp_path / "a.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    with pytest.raises(SampleError, match=r"a\.ppm: not a readable image: its sixteen bits a color cannot be read"):
        read_image(tmp_path / "a.ppm")
    (tmp_path / "b.ppm").write_bytes(b"P6 2 2 255\n" + bytes(12))
    assert read_image(tmp_path / "b.ppm").dtype == np.uint8


def test_five_bits_a_color_are_eight(tmp_path):
    """A BMP of sixteen bits a pixel has no deep colors."""
    header = b"BM" + struct.pack("<IHHI", 70, 0, 0, 66) + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    (tmp_path / "a.bmp").write_bytes(header + struct.pack("<IIIHH", 0xF800, 0x7E0, 0x1F, 0xF800, 0))
    assert read_image(tmp_path / "a.bmp").tolist() == [[[255, 0, 0]]]


def turned(path, orientation):
    """An image whose left half is white as it lies in the file."""
    pixels = np.zeros((8, 16), np.uint16 if path.suffix == ".png" else np.uint8)
    pixels[:, :8] = np.iinfo(pixels.dtype).max
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png"], ids=["8 bits", "16 bits"])
def test_an_orientation_is_applied_where_it_is_asked_for(tmp_path, name):
    """Only then, and told otherwise; before the image is resized."""
    said = []
    path = turned(tmp_path / name, 6)
    assert read_image(path, tell=said.append).shape == (8, 16)
    assert said == [NOT_TURNED]
    upright = read_image(path, orient=True, tell=said.append)
    assert upright.shape == (16, 8)
    assert upright[:8].min() > upright[8:].max()
    assert read_image(path, size=(4, 2), orient=True)[:2].min() > read_image(path, size=(4, 2), orient=True)[2:].max()
    assert said == [NOT_TURNED]
    read_image(turned(path, 1), tell=said.append)
    assert said == [NOT_TURNED]


def test_broken_metadata_does_not_hide_an_image(tmp_path):
    """What cannot be read says nothing."""
    Image.new("L", (2, 3)).save(tmp_path / "a.png", exif=b"MM\0*\xff\xff")
    with Image.open(tmp_path / "a.png") as file, pytest.raises(Exception):  # noqa: B017 - of any kind
        file.getexif()
    assert read_image(tmp_path / "a.png", orient=True, tell=pytest.fail).shape == (3, 2)


TRANSPARENT = {
    "rgba": (Image.new("RGBA", (2, 2), (9, 9, 9, 7)), {}, True),
    "gray and alpha": (Image.new("LA", (2, 2), (9, 7)), {}, True),
    "a color": (Image.new("RGB", (2, 2)), {"transparency": (0, 0, 0)}, True),
    "a palette's": (Image.new("P", (2, 2)), {"transparency": 0}, True),
    "opaque": (Image.new("RGBA", (2, 2), (9, 9, 9, 255)), {}, False),
    "none": (Image.new("RGB", (2, 2)), {}, False),
}


@pytest.mark.parametrize(("made", "how", "told"), TRANSPARENT.values(), ids=TRANSPARENT)
def test_transparency_is_told_where_there_is_some(tmp_path, made, how, told):
    """An alpha channel that nobody uses hides nothing."""
    said = []
    made.save(tmp_path / "a.png", **how)
    read_image(tmp_path / "a.png", tell=said.append)
    assert said == [NOT_BLENDED] * told


def test_resize(tmp_path):
    """The size is height, width."""
    assert read_image(save(tmp_path / "a.png", "RGB", (5, 9)), size=(3, 4)).shape == (3, 4, 3)


def test_unreadable_images_are_named(tmp_path):
    """Empty, no image, cut off, missing, a directory: an error of the sample that names the file."""
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "directory.png").mkdir()
    for name in ("empty.png", "text.png", "cut.png", "missing.png", "directory.png"):
        with pytest.raises(SampleError, match=f"{name}: not a readable image: "):
            read_image(tmp_path / name)
