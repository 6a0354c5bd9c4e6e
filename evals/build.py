"""Make the data and the models of the sample suites; run by hand, what it writes is committed.

    python evals/build.py

Everything comes from scikit-learn's and scikit-image's bundled data, with fixed seeds: a second run writes the same
data byte for byte, and models of the same quality. The table it prints is what the gates in the suites stand on.
The suites themselves (`evalrun.yaml`, `.run_config`, `.skip`) are written by people and left alone.
"""

from __future__ import annotations

import csv
import logging
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from PIL import Image
from skimage import data, metrics, transform
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

HERE = Path(__file__).parent
SEED = 20
OPSET = 17
IR_VERSION = 8  # the oldest ONNX Runtime that the extra `onnx` allows must be able to read the models


@dataclass(frozen=True)
class Quality:
    """One line of the table: what a model reaches on a dataset, computed without the plugin."""

    suite: str
    pair: str
    metrics: Mapping[str, float]

    def __str__(self) -> str:
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        return f"{self.suite:8} {self.pair:26} {numbers}"


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # the quantizer advises an optimisation pass that these models do not need
    for build in (build_digits, build_tabular, build_restore):
        for line in build():
            print(line)


# --- digits: classification of 8 x 8 images ---------------------------------------------------------------------------


def build_digits() -> Iterator[Quality]:
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=300, stratify=labels, random_state=SEED
    )
    models = digit_models(HERE / "digits" / "models", train_x, train_y)
    for name, pixels in digit_datasets(test_x).items():
        write_digits(HERE / "digits" / "data" / name, pixels, test_y)
        for model in models:
            found = ask(model, (pixels / 255).astype(np.float32)[:, None]).argmax(axis=1)
            scores = {"top1": accuracy_score(test_y, found), "macro_f1": f1_score(test_y, found, average="macro")}
            yield Quality("digits", f"{model.stem}/{name}", scores)


def digit_models(directory: Path, train_x: Array, train_y: Array) -> list[Path]:
    """A linear model, a small network, and that network in int8."""
    remake(directory)
    train = (train_x / 16).astype(np.float32)
    logreg = LogisticRegression(C=0.5, max_iter=2000).fit(train, train_y)
    mlp = MLPClassifier((96, 48), alpha=1e-2, max_iter=400, random_state=SEED).fit(train, train_y)
    paths = [directory / f"{name}.onnx" for name in ("logreg", "mlp", "mlp_int8")]
    for path, model in zip(paths, (logreg, mlp), strict=False):
        options = {type(model): {"zipmap": False}}
        exported = to_onnx(
            model,
            initial_types=[("pixels", FloatTensorType([None, 64]))],
            options=options,
            target_opset={"": OPSET, "ai.onnx.ml": 3},
            name=path.stem,
        )
        save(path, scores_from_images(exported))
    quantize_static(paths[1], paths[2], Calibration(train), op_types_to_quantize=["MatMul"])
    save(paths[2], onnx.load(paths[2]))
    return paths


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Training images that fix the ranges of the int8 model: ranges taken from a batch would change with its size."""

    def __init__(self, train: Array) -> None:
        self._batches = iter([{"image": train.reshape(-1, 1, 8, 8)}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def scores_from_images(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a Flatten in front, so that the model takes images N x 1 x 8 x 8 and not rows of 64."""
    graph = model.graph
    graph.node.insert(0, helper.make_node("Flatten", ["image"], ["pixels"], axis=1))
    graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8]))
    return model


def digit_datasets(test_x: Array) -> dict[str, Array]:
    clean = (test_x.reshape(-1, 8, 8) / 16 * 255).round().astype(np.uint8)
    noise = np.random.default_rng(SEED).normal(0, 40, clean.shape)
    turned = [transform.rotate(image, angle, preserve_range=True) for image, angle in zip(clean, tilts(), strict=False)]
    return {"clean": clean, "noisy": to_bytes(clean + noise), "rotated": to_bytes(np.stack(turned))}


def tilts() -> Iterator[float]:
    """10 degrees to the left, 10 to the right, and so on."""
    while True:
        yield from (10.0, -10.0)


def write_digits(directory: Path, pixels: Array, labels: Array) -> None:
    remake(directory)
    names = [f"{index:04}.png" for index in range(len(pixels))]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(directory / name)
    write_csv(directory / "labels.csv", ["file", "label"], zip(names, labels.tolist(), strict=True))


# --- tabular: regression on rows of numbers ---------------------------------------------------------------------------


def build_tabular() -> Iterator[Quality]:
    table = load_diabetes(scaled=False)
    rows, targets = table.data.astype(np.float32), table.target
    train_x, test_x, train_y, test_y = train_test_split(rows, targets, test_size=142, random_state=SEED)
    models = tabular_models(HERE / "tabular" / "models", train_x, train_y)
    older = test_x[:, table.feature_names.index("age")] >= 50
    remake(HERE / "tabular" / "data")
    for name, chosen in (("everyone", np.full(len(test_x), fill_value=True)), ("older", older)):
        path = HERE / "tabular" / "data" / f"{name}.csv"
        write_patients(path, table.feature_names, np.flatnonzero(chosen), test_x[chosen], test_y[chosen])
        for model in models:
            yield Quality("tabular", f"{model.stem}/{name}", regression(test_y[chosen], ask(model, test_x[chosen])))


def tabular_models(directory: Path, train_x: Array, train_y: Array) -> list[Path]:
    remake(directory)
    pipelines = {
        "ridge": make_pipeline(StandardScaler(), Ridge(alpha=10)),
        "forest": make_pipeline(MinMaxScaler(), RandomForestRegressor(40, max_depth=5, random_state=SEED)),
    }
    for name, pipeline in pipelines.items():
        pipeline.fit(train_x, train_y)
        exported = to_onnx(pipeline, train_x[:1], target_opset={"": OPSET, "ai.onnx.ml": 3}, name=name)
        save(directory / f"{name}.onnx", exported)
    return [directory / f"{name}.onnx" for name in pipelines]


def write_patients(path: Path, columns: Sequence[str], patients: Array, rows: Array, targets: Array) -> None:
    cells = (
        [f"p{patient:03}", *(f"{value:g}" for value in row), f"{target:g}"]
        for patient, row, target in zip(patients, rows, targets, strict=True)
    )
    write_csv(path, ["patient", *columns, "progression"], cells)


def regression(targets: Array, found: Array) -> dict[str, float]:
    found = found.ravel()
    return {
        "mae": mean_absolute_error(targets, found),
        "rmse": root_mean_squared_error(targets, found),
        "r2": r2_score(targets, found),
    }


# --- restore: images in, images out -----------------------------------------------------------------------------------

SIZE = 64
PICTURES = {"photos": ("astronaut", "camera", "coffee", "chelsea"), "textures": ("brick", "grass", "gravel", "coins")}


def build_restore() -> Iterator[Quality]:
    clean, noisy = restore_training()
    models = {
        "denoise_gaussian": gaussian(5, sigma=0.8),
        "denoise_learned": least_squares(5, noisy, clean),
        "sharpen": 2 * delta(5) - gaussian(5, sigma=1.0),
    }
    for task, kernel in models.items():
        save(HERE / "restore" / task / "model.onnx", filter_model(kernel, task))
        for name, pictures in PICTURES.items():
            pairs = restore_pairs(pictures)
            write_restore(HERE / "restore" / task / name, pairs)
            yield Quality("restore", f"{task}/{name}", restored(HERE / "restore" / task / "model.onnx", pairs))


def restore_training() -> tuple[Array, Array]:
    """Crops of the right half of every picture; the datasets are cut from the left half."""
    crops = [crop for names in PICTURES.values() for name in names for crop in cut(gray(name), left=False)]
    clean = np.stack(crops)
    return clean, disturb(clean, seed=SEED)


def restore_pairs(pictures: Sequence[str]) -> dict[str, tuple[Array, Array]]:
    """Name of a picture and its crop to (noisy, clean)."""
    crops = {f"{name}_{i}": crop for name in pictures for i, crop in enumerate(cut(gray(name), left=True))}
    noisy = disturb(np.stack(list(crops.values())), seed=SEED + 1)
    return {name: (bad, good) for bad, (name, good) in zip(noisy, crops.items(), strict=True)}


def gray(name: str) -> Array:
    picture: Array = getattr(data, name)()
    return picture if picture.ndim == 2 else to_bytes(picture @ np.array([0.2125, 0.7154, 0.0721]))


def cut(picture: Array, *, left: bool) -> list[Array]:
    middle = picture.shape[1] // 2
    column = middle - SIZE - 16 if left else middle + 16
    return [picture[row : row + SIZE, column : column + SIZE] for row in (64, 160)]


def disturb(pictures: Array, seed: int) -> Array:
    return to_bytes(pictures + np.random.default_rng(seed).normal(0, 18, pictures.shape))


def delta(size: int) -> Array:
    kernel = np.zeros((size, size))
    kernel[size // 2, size // 2] = 1
    return kernel


def gaussian(size: int, sigma: float) -> Array:
    line = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def least_squares(size: int, noisy: Array, clean: Array) -> Array:
    """The linear filter that brings the noisy crops nearest to the clean ones."""
    windows = np.lib.stride_tricks.sliding_window_view(noisy.astype(float), (size, size), axis=(1, 2))
    edge = size // 2
    wanted = clean[:, edge:-edge, edge:-edge].astype(float).ravel()
    return np.linalg.lstsq(windows.reshape(-1, size * size), wanted, rcond=None)[0].reshape(size, size)


def filter_model(kernel: Array, name: str) -> onnx.ModelProto:
    """A convolution that keeps the size of the image, mirrored at its edges."""
    edge = kernel.shape[0] // 2
    weights = numpy_helper.from_array(kernel.astype(np.float32)[None, None], "kernel")
    pads = numpy_helper.from_array(np.array([0, 0, edge, edge, 0, 0, edge, edge], np.int64), "pads")
    nodes = [
        helper.make_node("Pad", ["image", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Conv", ["padded", "kernel"], ["restored"]),
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["n", 1, "height", "width"])]
        for tensor in ("image", "restored")
    )
    graph = helper.make_graph(nodes, name, inputs, outputs, [weights, pads])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])


def write_restore(directory: Path, pairs: Mapping[str, tuple[Array, Array]]) -> None:
    for column, subdirectory in enumerate(("noisy", "clean")):
        remake(directory / subdirectory)
        for name, images in pairs.items():
            Image.fromarray(images[column]).save(directory / subdirectory / f"{name}.png")


def restored(model: Path, pairs: Mapping[str, tuple[Array, Array]]) -> dict[str, float]:
    noisy, clean = (np.stack([images[column] for images in pairs.values()]) for column in (0, 1))
    found = to_bytes(ask(model, (noisy / 255).astype(np.float32)[:, None])[:, 0] * 255)
    measures = {"psnr": metrics.peak_signal_noise_ratio, "ssim": metrics.structural_similarity}
    return {
        name: float(np.mean([measure(good, new, data_range=255) for good, new in zip(clean, found, strict=True)]))
        for name, measure in measures.items()
    }


# --- what all of them need --------------------------------------------------------------------------------------------


def to_bytes(pixels: Array) -> Array:
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def remake(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def write_csv(path: Path, header: Sequence[str], rows: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def save(path: Path, model: onnx.ModelProto) -> None:
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def ask(model: Path, batch: Array) -> Array:
    """The last output: scores where a label stands beside them, the value or image where it is alone."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, {session.get_inputs()[0].name: batch})
    return outputs[-1]


if __name__ == "__main__":
    main()
