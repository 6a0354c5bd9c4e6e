"""ONNX models, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError, SampleError

try:
    import numpy as np
    import onnxruntime
except ModuleNotFoundError as error:
    raise PairError(f'{error.name} is needed for adapter onnx: pip install "pytest-evalrun[onnx]"') from error

from pytest_evalrun.adapters.output import OutputSpec
from pytest_evalrun.adapters.preprocess import ModelInput, Preprocess
from pytest_evalrun.datasets.arrays import shape_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.adapters.preprocess import Array
    from pytest_evalrun.datasets.protocol import Sample

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}
PARAMS = frozenset({"threads"})
FATAL_ONLY = 4


class OnnxAdapter:
    """Loads the model with as many threads as this worker's share of the cores, and asks it for one output."""

    def __init__(
        self, path: str | None, params: Mapping[str, Any], preprocess: Mapping[str, Any], output: Mapping[str, Any]
    ) -> None:
        self.path = path
        self.params = params
        self.preprocess = Preprocess.of(preprocess)
        self._output_settings = output
        self._session: Any = None

    def load(self) -> None:
        """Raises PairError for a file that is empty or no ONNX model, and for an output that it does not have."""
        path = self._checked_path()
        try:
            self._session = onnxruntime.InferenceSession(path, self._options(), providers=["CPUExecutionProvider"])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the runtime raises types of its own for each fault of a model
            raise PairError(f"{path}: not a model that ONNX Runtime can load: {_one_line(error)}") from None
        self.inputs = [self._input(declared) for declared in self._session.get_inputs()]
        layout = self.preprocess.layout
        self.output = OutputSpec.of(self._output_settings, self._session.get_outputs(), layout, path)

    def predict(self, batch: Sequence[Sample]) -> list[Any]:
        """One prediction a sample; samples of one shape go through the model together."""
        rows = [self.preprocess.arrays(sample.id, sample.input, self.inputs) for sample in batch]
        for sample, row in zip(batch, rows, strict=True):
            self._check_shapes(sample.id, row)
        predictions: list[Any] = [None] * len(batch)
        for places in self._groups(rows):
            for place, raw in zip(places, self._run([rows[place] for place in places]), strict=True):
                predictions[place] = self.output.prediction(batch[place].id, raw)
        return predictions

    def close(self) -> None:
        self._session = None

    def _checked_path(self) -> str:
        if self.path is None:
            raise PairError("adapter onnx needs a model file: give the model a path")
        path = Path(self.path)
        if not path.is_file():
            raise PairError(f"{path}: the model is {'a directory' if path.is_dir() else 'missing'}; it must be a file")
        if not path.stat().st_size:
            raise PairError(f"{path}: the model is empty (0 bytes)")
        return self.path

    def _options(self) -> Any:
        onnxruntime.set_default_logger_severity(FATAL_ONLY)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL_ONLY
        options.intra_op_num_threads = self._threads()
        options.inter_op_num_threads = 1
        # Threads that spin while they wait would take the cores from the other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _threads(self) -> int:
        if unknown := self.params.keys() - PARAMS:
            raise PairError(f"adapter onnx: unknown parameter {', '.join(sorted(unknown))}; accepted: threads")
        threads = self.params.get("threads", share_of_cores())
        if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
            raise PairError(f"adapter onnx: threads is {threads!r}; accepted: an integer of at least 1")
        return threads

    def _input(self, declared: Any) -> ModelInput:
        if declared.type not in TYPES:
            raise PairError(
                f"{self.path}: the input {declared.name!r} takes {declared.type}; accepted: {', '.join(TYPES)}"
            )
        shape = tuple(size if isinstance(size, int) else None for size in declared.shape)
        return ModelInput(declared.name, shape, TYPES[declared.type])

    def _check_shapes(self, sample_id: str, row: Sequence[Array]) -> None:
        """Of the sample where its size alone is wrong and others may fit; of the pair where none ever would."""
        for array, model_input in zip(row, self.inputs, strict=True):
            expected, given = self.preprocess.expected(model_input), array.shape
            if expected is None or _fits(given, expected):
                continue
            text = (
                f"the model's input {model_input.text} expects {shape_text(expected)} a sample, "
                f"sample {sample_id} has {shape_text(given)}"
            )
            if self.preprocess.varies and len(given) == len(expected):
                raise SampleError(f"{text}; see preprocess: size")
            raise PairError(f"{self.path}: {text}; see preprocess: color, size, layout, shape")

    def _groups(self, rows: Sequence[Sequence[Array]]) -> Iterator[list[int]]:
        """Places of samples that can be stacked, at most as many as the model takes at once."""
        by_shape: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for place, row in enumerate(rows):
            by_shape.setdefault(tuple(array.shape for array in row), []).append(place)
        size = self._batch_size or len(rows)
        for places in by_shape.values():
            for start in range(0, len(places), size):
                yield places[start : start + size]

    @property
    def _batch_size(self) -> int | None:
        """How many samples the model takes at once, where that is fixed."""
        if not self.preprocess.batched:
            return 1
        return self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else None

    def _run(self, rows: Sequence[Sequence[Array]]) -> Sequence[Any]:
        """What the model says of each row; a batch smaller than a fixed one is filled up with its last row."""
        wanted = self._batch_size or len(rows)
        filled = [*rows, *[rows[-1]] * (wanted - len(rows))]
        feeds = {
            model_input.name: np.stack([row[place] for row in filled]) if self.preprocess.batched else rows[0][place]
            for place, model_input in enumerate(self.inputs)
        }
        answer = self._ask(feeds)
        return self._rows_of(answer, wanted)[: len(rows)] if self.preprocess.batched else [answer]

    def _rows_of(self, answer: Any, wanted: int) -> Sequence[Any]:
        found = len(answer) if getattr(answer, "ndim", 1) else 0
        if found != wanted:
            raise PairError(f"{self.path}: output {self.output.name!r} has {found} rows for {wanted} samples")
        return answer  # type: ignore[no-any-return]

    def _ask(self, feeds: Mapping[str, Array]) -> Any:
        try:
            return self._session.run([self.output.name], feeds)[0]
        except Exception as error:
            text = _one_line(error)
            if "allocate memory" in text or "bad_alloc" in text:
                raise MemoryError(text) from error
            given = ", ".join(f"{name} {shape_text(array.shape)} {array.dtype}" for name, array in feeds.items())
            kind = SampleError if self.preprocess.varies and not isinstance(error, TYPE_FAULTS) else PairError
            raise kind(f"{self.path}: the model cannot take {given}: {text}") from error


TYPE_FAULTS = (onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,)


def share_of_cores() -> int:
    """The cores that this process may use, shared fairly with the other workers of the session."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT") or 1))


def _fits(given: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(given) == len(expected) and all(b is None or a == b for a, b in zip(given, expected, strict=True))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
