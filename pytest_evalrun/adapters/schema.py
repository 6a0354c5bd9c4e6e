"""What ONNX models, and the user's own classes, add to evalrun.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictInt, StrictStr  # noqa: TC002 - pydantic reads the annotations

from pytest_evalrun.suite.fields import UNSET, Layout, Name, Names, Number, Positive, Strict


class OutputModel(Strict):
    kind: Literal["class", "value", "vector", "image"] = UNSET
    """What an answer is: the best class, a number, a list of numbers, or an image. Default: `class`."""
    name: Name = UNSET
    """The output of the model that is taken. Default: the first; with `top` the first that has scores."""
    # Strict: 1.0 and true are no 1; whoever means these texts quotes them.
    labels: list[StrictStr | StrictInt] = UNSET
    """The names of the classes, in the order of the scores."""
    top: Positive = UNSET
    """So many best classes are kept, as `topk` needs them."""
    scale: Number = UNSET
    """What an image is multiplied by: 255 makes 8 bits, 65535 makes 16 bits."""
    layout: Layout = UNSET
    """The order of the axes of an image that the model gives. Default: that of `preprocess`."""


class OnnxModel(Strict):
    output: OutputModel = UNSET
    """What the output of an ONNX model means."""


class PythonModel(Strict):
    concurrency: Positive = UNSET
    """So many samples are asked for at once of a class with `predict_one`. Default: 16 where that is `async def`,
    else 1; more of a plain one are asked in threads.
    """
    retry_on: Names = UNSET
    """Errors of `predict_one` that may pass, by the names of their classes or of those that they extend."""
