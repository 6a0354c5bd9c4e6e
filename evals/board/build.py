"""Make data/ and models/; run by hand, what it writes is committed. A second run writes the same, byte for byte.

    python evals/board/build.py

The digits are scikit-learn's, as text that awk can read: 8 lines of 8 gray values, 0 to 16. A model is text as well:
for each layer a line `layer INPUTS OUTPUTS ACTIVATION`, then a line an output, its bias before its weights. The table
it prints, computed without the program of the suite, is what the gates stand on.
"""

from __future__ import annotations

import csv
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Layers = list[tuple[Array, Array, str]]

HERE = Path(__file__).parent
SEED = 11
COUNT = 100
NOISE = 4.0


def main() -> None:
    warnings.simplefilter("ignore")
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images, labels, test_size=COUNT, stratify=labels, random_state=SEED)
    train_x, test_x, train_y, test_y = split
    models = dict(make_models(train_x, train_y))
    for directory in ("models", "data"):
        shutil.rmtree(HERE / directory, ignore_errors=True)
    for name, layers in models.items():
        write_model(HERE / "models" / f"{name}.txt", layers)
    for dataset, pixels in make_datasets(test_x.reshape(-1, 8, 8)).items():
        write_dataset(HERE / "data" / dataset, pixels, test_y)
        for name in models:
            right = np.mean(ask(HERE / "models" / f"{name}.txt", pixels) == test_y)
            print(f"{name + '/' + dataset:20} top1 {right:.2f}")


# --- models -----------------------------------------------------------------------------------------------------------


def make_models(train_x: Array, train_y: Array) -> Iterator[tuple[str, Layers]]:
    """The nearest of ten means, a linear model, and a small network that has also seen noise and shifted digits."""
    means = NearestCentroid().fit(train_x, train_y).centroids_
    # The nearest mean has the largest m·x - m·m / 2.
    yield "centroids", [(means, -(means**2).sum(axis=1) / 2, "none")]
    linear = LogisticRegression(C=0.01, max_iter=3000).fit(train_x, train_y)
    yield "linear", [(linear.coef_, linear.intercept_, "none")]
    seen = [train_x, *(shifted(train_x.reshape(-1, 8, 8), by).reshape(-1, 64) for by in (-1, 1))]
    noise = np.random.default_rng(SEED + 1).normal(0, NOISE, train_x.shape)
    seen.append(np.clip(train_x + noise, 0, 16))
    network = MLPClassifier((32,), alpha=1e-2, max_iter=100, random_state=SEED)
    network.fit(np.concatenate(seen) / 16, np.concatenate([train_y] * len(seen)))
    (first, second), (low, high) = network.coefs_, network.intercepts_
    yield "network", [(first.T / 16, low, "relu"), (second.T, high, "none")]


def write_model(path: Path, layers: Layers) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii") as file:
        for weights, biases, activation in layers:
            outputs, inputs = weights.shape
            file.write(f"layer {inputs} {outputs} {activation}\n")
            for bias, row in zip(biases, weights, strict=True):
                file.write(" ".join(f"{value:.5g}" for value in (bias, *row)) + "\n")


def ask(path: Path, pixels: Array) -> Array:
    """What the model says, from its file."""
    values = pixels.reshape(-1, 64).astype(float)
    lines = iter(path.read_text(encoding="ascii").splitlines())
    for header in lines:
        _, _, outputs, activation = header.split()
        rows = np.array([next(lines).split() for _ in range(int(outputs))], dtype=float)
        values = values @ rows[:, 1:].T + rows[:, 0]
        values = np.maximum(values, 0) if activation == "relu" else values
    found: Array = values.argmax(axis=1)
    return found


# --- data -------------------------------------------------------------------------------------------------------------


def make_datasets(clean: Array) -> dict[str, Array]:
    noise = np.random.default_rng(SEED).normal(0, NOISE, clean.shape)
    sides = np.where(np.arange(len(clean)) % 2, 1, -1)
    moved = np.stack([shifted(image[None], by)[0] for image, by in zip(clean, sides, strict=True)])
    return {"clean": clean, "noisy": np.clip(clean + noise, 0, 16).round(), "shifted": moved}


def shifted(images: Array, by: int) -> Array:
    """One column to the side, nothing comes in."""
    moved = np.roll(images, by, axis=2)
    moved[:, :, 0 if by > 0 else -1] = 0
    return moved


def write_dataset(directory: Path, pixels: Array, labels: Array) -> None:
    directory.mkdir(parents=True)
    names = [f"{index:03}.txt" for index in range(len(pixels))]
    for name, image in zip(names, pixels.astype(int).tolist(), strict=True):
        rows = (" ".join(map(str, row)) for row in image)
        (directory / name).write_text("\n".join(rows) + "\n", encoding="ascii")
    with (directory / "labels.csv").open("w", newline="", encoding="ascii") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "label"])
        table.writerows(zip(names, labels.tolist(), strict=True))


if __name__ == "__main__":
    main()
