"""One output of a model as a prediction: a class, a value, a vector or an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.adapters.preprocess import shape_text
from pytest_evalrun.errors import PairError, SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True)
class Output:
    """What the suite declares under ``output``, and the name of the output tensor that serves it."""

    name: str
    kind: str = "class"
    labels: Sequence[str | int] | None = None
    top: int | None = None
    scale: float | None = None
    layout: str = "NCHW"

    @classmethod
    def of(cls, declared: Mapping[str, Any], outputs: Sequence[Any], layout: str, path: str) -> Output:
        """Raises PairError where the model has no output of the declared name."""
        return cls(**{"layout": layout, **declared, "name": _chosen(declared, outputs, path)})

    def prediction(self, sample_id: str, raw: Any) -> Any:
        """The prediction of one sample, in builtins or as an image. Raises SampleError where the model gave NaN."""
        if isinstance(raw, dict):  # label -> score, as scikit-learn's classifiers are exported
            return self._of_scores(sample_id, list(raw), np.array(list(raw.values())))
        array = np.asarray(raw)
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise SampleError(f"sample {sample_id}: the model's output {self.name!r} holds NaN")
        if self.kind == "class":
            return self._class(sample_id, array)
        if self.kind == "value":
            return self._value(array)
        return array.ravel().tolist() if self.kind == "vector" else self._image(array)

    def _class(self, sample_id: str, array: Array) -> Any:
        if array.dtype.kind != "f" and array.size == 1:
            label = self._label(array.item())
            return [label] if self.top else label
        if array.size < 2 or array.size != max(array.shape):
            raise PairError(
                f"output {self.name!r} has {shape_text(array.shape)} a sample; kind class needs one score a class "
                "or a label; other kinds: value, vector, image"
            )
        scores = array.ravel()
        return self._of_scores(sample_id, [self._label(place) for place in range(scores.size)], scores)

    def _of_scores(self, sample_id: str, labels: Sequence[Any], scores: Array) -> Any:
        if np.isnan(scores).any():
            raise SampleError(f"sample {sample_id}: the model's scores {self.name!r} hold NaN")
        if self.top is None:
            return labels[int(scores.argmax())]
        # Stable, so that of equal scores the first class wins, as argmax has it.
        best = np.argsort(-scores.astype(np.float64), kind="stable")[: self.top]
        return [labels[place] for place in best.tolist()]

    def _label(self, place: Any) -> Any:
        if self.labels is None or not isinstance(place, int):
            return place
        if 0 <= place < len(self.labels):
            return self.labels[place]
        raise PairError(f"output: labels has {len(self.labels)} entries, the model's output {self.name!r} has more")

    def _value(self, array: Array) -> float:
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise PairError(
                f"output {self.name!r} has {shape_text(array.shape)} of {array.dtype} a sample; kind value needs one "
                "number; other kinds: class, vector, image"
            )
        return float(array.item())

    def _image(self, array: Array) -> Array:
        """Height x width, or height x width x channels; ``scale`` brings it to 0..255."""
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
        return np.asarray(np.clip(np.rint(array.astype(np.float32) * self.scale), 0, 255), dtype=np.uint8)


def _chosen(declared: Mapping[str, Any], outputs: Sequence[Any], path: str) -> str:
    """The output named by the suite; else the first, or the first with scores where several classes are wanted."""
    names = [output.name for output in outputs]
    wanted = declared.get("name")
    if wanted is not None and wanted not in names:
        raise PairError(f"{path}: output: no output {wanted!r}; the model has: {', '.join(names)}")
    if wanted is None and declared.get("top"):
        wanted = next((output.name for output in outputs if "float" in output.type), None)
    return str(wanted or names[0])
