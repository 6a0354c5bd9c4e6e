"""What ONNX models add to evalrun.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictInt, StrictStr  # noqa: TC002 - pydantic reads the annotations

from pytest_evalrun.suite.schema import UNSET, Layout, Name, Number, Positive, Strict


class OutputModel(Strict):
    kind: Literal["class", "value", "vector", "image"] = UNSET
    name: Name = UNSET
    # Strict: 1.0 and true are no 1; whoever means these texts quotes them.
    labels: list[StrictStr | StrictInt] = UNSET
    top: Positive = UNSET
    scale: Number = UNSET
    layout: Layout = UNSET


class OnnxModel(Strict):
    output: OutputModel = UNSET
