"""Rules of the metrics on images."""

from __future__ import annotations

import numpy as np
import pytest
import skimage  # which imports its parts when they are used
from PIL import Image
from pixels import deep_png, noise

from pytest_evalrun.datasets.arrays import RawPlane
from pytest_evalrun.datasets.images import write_image
from pytest_evalrun.errors import PairError
from pytest_evalrun.metrics.images import MAX_PSNR, Psnr, Ssim

LIBRARY = {
    Psnr: lambda *images, **how: skimage.metrics.peak_signal_noise_ratio(*images, **how),
    Ssim: lambda *images, **how: skimage.metrics.structural_similarity(*images, **how),
}
WHITE = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
ALL = pytest.mark.parametrize("metric", [Psnr, Ssim], ids=lambda made: made.name)


@pytest.fixture
def saved(tmp_path):
    """Keeps an array as a prediction is kept."""
    return lambda name, array: write_image(tmp_path / name, array)


@pytest.fixture
def image(tmp_path):
    """Makes an image file of a shape, noise of a seed, in a directory with an odd name."""
    place = tmp_path / "it's $(x) 图"
    place.mkdir()

    def make(name, shape, seed=0):
        path = place / name
        write_image(path.with_suffix(""), np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
        return path

    return make


def pixels(seed, shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_psnr_is_the_mean_over_samples(image):
    """Each sample has its own score, the metric is their mean."""
    paths = [image(f"{seed}.png", (9, 9), seed) for seed in range(4)]
    metric = Psnr()
    scores = metric.update(paths[:2], paths[2:])
    expected = [
        skimage.metrics.peak_signal_noise_ratio(pixels(i + 2, (9, 9)), pixels(i, (9, 9)), data_range=255)
        for i in range(2)
    ]
    assert scores == pytest.approx(expected)
    result = metric.result()
    assert (result.value, result.n, result.better) == (pytest.approx(sum(expected) / 2), 2, "higher")


@ALL
def test_depths_have_a_white_of_their_own(saved, metric):
    """Without `data_range` white is 255 of 8 bits, 65535 of 16 bits, 1 of floats, as if it had been said."""
    for dtype, most in WHITE.items():
        left, right = saved("a", noise(1, dtype)), saved("b", noise(2, dtype))
        expected = LIBRARY[metric](noise(2, dtype), noise(1, dtype), data_range=most)
        for given in (metric(), metric(data_range=most)):
            assert given.update([left], [right]) == [pytest.approx(expected)]
            assert given.result().value == pytest.approx(expected)


@ALL
def test_sixteen_bit_colors_are_compared_at_sixteen_bits(saved, metric):
    """Channels do not change the depth, whether they lie in a .npy file or a PNG."""
    wanted, found = noise(2, "uint16", (9, 9, 3)), noise(1, "uint16", (9, 9, 3))
    channels = {"channel_axis": -1} if metric is Ssim else {}
    expected = LIBRARY[metric](wanted, found, data_range=65535, **channels)
    reference = deep_png(saved("b", wanted).with_suffix(".png"), wanted)
    assert metric().update([saved("a", found)], [reference]) == [pytest.approx(expected)]


@ALL
def test_a_range_that_the_signal_has_is_used(saved, metric):
    """Ten bits in a file of sixteen, floats of 0 to 255: what is said of white reaches the library."""
    for dtype, most in (("uint16", 1023), ("float32", 255), ("int32", 100_000)):
        wanted, found = ((noise(seed, "float64") * most).astype(dtype) for seed in (2, 1))
        expected = LIBRARY[metric](wanted, found, data_range=most)
        score = metric(data_range=most).update([saved("a", found)], [saved("b", wanted)])
        assert score == [pytest.approx(expected)]


MISFITS = {
    "16 bits said of 8": ("uint8", 1, 65535, r"data_range is 65535, which does not fit .*b\.png, of 8 bits"),
    "8 bits said of 16": ("uint16", 1, 255, r"data_range is 255, which does not fit .*b\.png, of 16 bits"),
    "more than 16 bits": ("uint16", 1, 65536, "data_range is 65536, which does not fit"),
    "1 said of 8 bits": ("uint8", 1, 1, "data_range is 1, which does not fit"),
    "floats of 0 to 255": ("float32", 255, None, "data_range is 1, which does not fit"),
    "255 said of 0 to 1": ("float32", 1, 255, "no reference spans more than 1/2[567][0-9] of data_range"),
    "8 bits in 16": ("uint16", 1 / 257, None, "no reference spans more than 1/2[567][0-9] of data_range"),
    "no white": ("int32", 1, None, "is of int32, which has no white; set data_range"),
}


@ALL
@pytest.mark.parametrize(("dtype", "times", "data_range", "message"), MISFITS.values(), ids=MISFITS)
def test_a_range_that_does_not_fit_is_refused(saved, metric, dtype, times, data_range, message):
    """A wrong white makes every image look alike, or none: never a value."""
    wanted = (noise(2, dtype) * times).astype(dtype)
    measure = metric(data_range=data_range)
    with pytest.raises(PairError, match=message):
        measure.update([saved("a", wanted)], [saved("b", wanted)])
        measure.result()


BLACK = np.zeros((9, 9), np.uint16)


@ALL
def test_black_references_fit_every_range(saved, metric):
    """Where nothing spans anything there is nothing to say of white."""
    measure = metric()
    measure.update([saved("a", BLACK)], [saved("b", BLACK)])
    assert measure.result().n == 1


AS_IT_WOULD_BE_KEPT = {
    "floats and 8 bits": ("uint8", lambda at_8: at_8 / 255),
    "floats and 16 bits": ("uint16", lambda at_16: at_16 / 65535),
    "floats that overshoot": ("uint8", lambda at_8: np.where(at_8 == 255, 1.2, np.where(at_8, at_8 / 255, -0.3))),
    "class numbers": ("uint8", lambda at_8: at_8.astype(np.int64)),
    "wide integers and 16 bits": ("uint16", lambda at_16: at_16.astype(np.int32)),
}


@ALL
@pytest.mark.parametrize(("dtype", "as_told"), AS_IT_WOULD_BE_KEPT.values(), ids=AS_IT_WOULD_BE_KEPT)
def test_predictions_without_a_depth_take_that_of_the_reference(saved, metric, dtype, as_told):
    """Floats are 0 to 1, wide integers are pixels: the score is that of the file that a careful user would write."""
    pixels = noise(1, dtype)
    pixels.flat[:2] = 0, np.iinfo(dtype).max
    reference = saved("b", noise(2, dtype))
    expected = metric().update([saved("kept", pixels)], [reference])
    assert metric().update([saved("told", as_told(pixels))], [reference]) == expected


MIXED = {
    "8 against 16 bits": (noise(1, "uint8"), noise(2, "uint16"), r"8 bits \(0 to 255\) against 16 bits"),
    "16 against 8 bits": (noise(1, "uint16"), noise(2, "uint8"), "16 bits .* against 8 bits"),
    "8 bits against floats": (noise(1, "uint8"), noise(2, "float32"), "8 bits .* against float32"),
    "16 bits against integers": (noise(1, "uint16"), noise(2, "int32"), "16 bits .* against int32"),
    "floats against integers": (noise(1, "float32"), noise(2, "int32"), "float32 against int32"),
    "floats of 0 to 255": (noise(1, "float32") * 255, noise(2, "uint8"), "floats are taken as 0 to 1, .* up to 6"),
    "integers of 16 bits": (
        noise(1, "uint16").astype("int64"),
        noise(2, "uint8"),
        "it holds values up to 6[0-9]{4}, where",
    ),
}


@ALL
@pytest.mark.parametrize(("found", "wanted", "message"), MIXED.values(), ids=MIXED)
def test_two_depths_are_refused(saved, metric, found, wanted, message):
    """Pixels of another depth are another unit: the two files and depths are named, nothing is compared."""
    image, reference = saved("a", found), saved("b", wanted)
    with pytest.raises(PairError, match=rf"metric {metric.name}: .*a\.\w+ does not fit .*b\.\w+: {message}"):
        metric(data_range=100_000 if wanted.dtype == "int32" else None).update([image], [reference])


@ALL
def test_what_is_not_applied_is_said_once(tmp_path, caplog, metric):
    """An EXIF orientation and a transparency, of predictions and references apart."""
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = Image.fromarray(pixels(1, (9, 9, 3))).convert("RGBA")
    clear.putalpha(7)
    clear.save(tmp_path / "a.png", exif=exif)
    metric().update([tmp_path / "a.png"] * 3, [tmp_path / "a.png"] * 3)
    said = [record.getMessage() for record in caplog.records]
    assert sum("EXIF orientation is not applied" in text for text in said) == 2
    assert sum("transparency is dropped" in text for text in said) == 2
    assert len(said) == 4
    assert all("a.png" in text and metric.name in text for text in said)


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
    expected = skimage.metrics.structural_similarity(
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


SHAPES = {
    "height and width": ({"shape": [9, 11]}, (9, 11), None),
    "of a batch": ({"shape": [1, 1, 9, 11]}, (9, 11), None),
    "channels first": ({"shape": [3, 9, 11]}, (3, 9, 11), (1, 2, 0)),
    "channels last": ({"shape": [9, 11, 3], "layout": "NHWC"}, (9, 11, 3), None),
    "sixteen bits": ({"shape": [9, 11], "raw_dtype": "uint16"}, (9, 11), None),
}


@ALL
@pytest.mark.parametrize(("said", "shape", "axes"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("ending", [".raw", ".YUV", ".bin"])
def test_raw_planes_are_read_as_inputs_are(tmp_path, metric, said, shape, axes, ending):
    """Files of pixels alone have the shape and the type that `preprocess` gives them, answers as references."""
    dtype = said.get("raw_dtype", "uint8")
    arrays = [np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype) for seed in (1, 2)]
    paths = [tmp_path / f"{place}{ending}" for place in range(2)]
    for path, array in zip(paths, arrays, strict=True):
        array.tofile(path)
    image, wanted = (array.transpose(axes) if axes else array for array in arrays)
    channels = {"channel_axis": -1} if metric is Ssim and image.ndim == 3 else {}
    made = metric()
    made.plane = RawPlane.of({"input": "raw", "dtype": "uint8", **said})
    expected = LIBRARY[metric](wanted, image, data_range=np.iinfo(dtype).max, **channels)
    assert made.update(paths[:1], paths[1:]) == [pytest.approx(expected)]


def test_of_several_planes_the_one_that_is_called_alike_is_compared(tmp_path):
    """The suffix of the answer says which of the reference's files is meant."""
    made = Psnr()
    made.plane = RawPlane.of({"input": "raw", "shape": [2, 2], "raw_dtype": "uint8"})
    for name in ("a_y.bin", "b_y.bin"):
        (tmp_path / name).write_bytes(b"1234")
    reference = {"_uv.bin": tmp_path / "b_uv.bin", "_y.bin": tmp_path / "b_y.bin"}
    assert made.update([tmp_path / "a_y.bin"], [reference]) == [MAX_PSNR]
    with pytest.raises(PairError, match="metric psnr"):
        made.update([tmp_path / "a.png"], [reference])


PLANES = {
    "another size": (b"12345", [2, 2], "5 bytes; 2 x 2 of uint8 are 4 bytes"),
    "nobody said": (b"1234", None, "does not say how many; accepted: preprocess: {input: raw, shape: "),
    "no image": (b"12345678", [2, 1, 2, 2], "2 x 1 x 2 x 2 is no image; accepted: H x W, "),
}


@pytest.mark.parametrize(("data", "shape", "told"), PLANES.values(), ids=PLANES)
def test_planes_that_do_not_fit(tmp_path, data, shape, told):
    """The file is named, with its size and the one that was said."""
    (tmp_path / "a.yuv").write_bytes(data)
    (tmp_path / "b.yuv").write_bytes(data)
    made = Psnr()
    made.plane = RawPlane.of({"input": "raw", "shape": shape, "raw_dtype": "uint8"})
    with pytest.raises(PairError) as failed:
        made.update([tmp_path / "a.yuv"], [tmp_path / "b.yuv"])
    assert told in str(failed.value)
    assert str(tmp_path / "a.yuv") in str(failed.value)
