"""Make the pictures and the models; run by hand, what it writes is committed. A second run writes the same.

The pictures are those of the suite `restore`, as plain PGM, which a shell script can read. A model is a table of 256
numbers: what becomes of each gray value when it is stored with fewer bits, and read back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
PICTURES = HERE.parent / "restore" / "sharpen"
SIZE = (32, 32)
DATASETS = ("photos", "textures")


def _linear(bits: int) -> Callable[[float], float]:
    levels = 2**bits - 1
    return lambda value: round(value * levels) / levels


def _gamma(bits: int) -> Callable[[float], float]:
    levels = 2**bits - 1
    return lambda value: (round(value**0.5 * levels) / levels) ** 2


MODELS = {"linear_3bit": _linear(3), "linear_5bit": _linear(5), "gamma_5bit": _gamma(5)}


def _write_picture(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        pixels = np.asarray(image.convert("L").resize(SIZE, Image.Resampling.LANCZOS))
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(" ".join(map(str, row)) for row in pixels.tolist())
    target.write_text(f"P2\n{SIZE[0]} {SIZE[1]}\n255\n{rows}\n", encoding="ascii")


def main() -> None:
    for name, curve in MODELS.items():
        (HERE / name).mkdir(exist_ok=True)
        table = [round(255 * curve(value / 255)) for value in range(256)]
        (HERE / name / "table.lut").write_text("\n".join(map(str, table)) + "\n", encoding="ascii")
        for dataset in DATASETS:
            for source in sorted((PICTURES / dataset / "clean").glob("*.png"))[:4]:
                _write_picture(source, HERE / name / dataset / "pgm" / f"{source.stem}.pgm")


if __name__ == "__main__":
    main()
