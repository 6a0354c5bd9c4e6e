"""One output of a model as a prediction: a class, a value, a vector or an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.datasets.arrays import shape_text, to_depth
from pytest_evalrun.errors import PairError, SampleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

EIGHT_BITS = 255


@dataclass(frozen=True)
class OutputSpec:
    """What the suite declares under ``output``, and the name of the output tensor that serves it."""

    name: str
    kind: str = "class"
    labels: Sequence[str | int] | None = None
    top: int | None = None
    scale: float | None = None
    layout: str = "NCHW"

    @classmethod
    def of(cls, declared: Mapping[str, Any], outputs: Sequence[Any], layout: str, path: str) -> OutputSpec:
        """Raises PairError where the model has no output of the declared name."""
        return cls(**{"layout": layout, **declared, "name": _chosen(declared, outputs, path)})

    def prediction(self, sample_id: str, raw: Any) -> Any:
        """The prediction of one sample, in builtins or as an image. Raises SampleError where the model gave NaN."""
        # A map from label to score, as scikit-learn's classifiers are exported, is its scores, whose order is its own.
        array = np.array(list(raw.values()), np.float32) if isinstance(raw, dict) else np.asarray(raw)
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise SampleError(f"sample {sample_id}: the model's output {self.name!r} holds NaN")
        if self.kind == "class":
            return self._best(array, list(raw)) if isinstance(raw, dict) else self._class(array)
        if self.kind == "value":
            return self._value(array)
        return array.ravel().tolist() if self.kind == "vector" else self._image(sample_id, array)

    def _class(self, array: Array) -> Any:
        if array.dtype.kind != "f" and array.size == 1:
            label = self._label(array.item())
            return [label] if self.top else label
        if array.size < 2 or array.size != max(array.shape):
            raise PairError(
                f"output {self.name!r} has {shape_text(array.shape)} a sample; kind class needs one score a class "
                "or a label; other kinds: value, vector, image"
            )
        scores = array.ravel()
        return self._best(scores, range(scores.size))

    def _best(self, scores: Array, classes: Iterable[Any]) -> Any:
        labels = [self._label(name) for name in classes]
        if self.top is None:
            return labels[int(scores.argmax())]
        # Stable, so that of equal scores the first class wins, as argmax has it.
        best = np.argsort(-scores.astype(np.float64), kind="stable")[: self.top]
        return [labels[place] for place in best.tolist()]

    def _label(self, found: Any) -> Any:
        """The name of a class, which the model tells by its number, or by the name itself."""
        if self.labels is None:
            return found
        if isinstance(found, int) and 0 <= found < len(self.labels):
            return self.labels[found]
        if not isinstance(found, int) and found in self.labels:
            return found
        raise PairError(
            f"output: labels has {len(self.labels)} entries, none for the class {found!r} of the model's output "
            f"{self.name!r}"
        )

    def _value(self, array: Array) -> float:
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise PairError(
                f"output {self.name!r} has {shape_text(array.shape)} of {array.dtype} a sample; kind value needs one "
                "number; other kinds: class, vector, image"
            )
        return float(array.item())

    def _image(self, sample_id: str, array: Array) -> Array:
        """Height x width, or height x width x channels; ``scale`` brings it to 0..255, or above 255 to 16 bits."""
        if array.ndim == 3 and self.layout == "NCHW":
            array = array.transpose(1, 2, 0)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[:, :, 0]
        if array.ndim not in (2, 3):
            raise PairError(
                f"output {self.name!r} has {shape_text(array.shape)} a sample; kind image needs 2 or 3 sizes"
            )
        if self.scale is None:
            return array
        deep = self.scale > EIGHT_BITS
        scaled = np.multiply(array, self.scale, dtype=np.float64 if deep else np.float32)
        try:
            return to_depth(scaled, np.uint16 if deep else np.uint8)
        except ValueError as error:
            text = f"times {self.scale:g} {error}; see output: scale"
            raise SampleError(f"sample {sample_id}: of the model's output {self.name!r} {text}") from None


def _chosen(declared: Mapping[str, Any], outputs: Sequence[Any], path: str) -> str:
    """The output named by the suite; else the first, or the first with scores where several classes are wanted."""
    names = [output.name for output in outputs]
    wanted = declared.get("name")
    if wanted is not None and wanted not in names:
        raise PairError(f"{path}: output: no output {wanted!r}; the model has: {', '.join(names)}")
    if wanted is None and declared.get("top"):
        wanted = next((output.name for output in outputs if "float" in output.type), None)
    return str(wanted or names[0])
