"""The kinds whose models are Python objects: what each counts as its own, and how its models are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.problems import found
from pytest_evalrun.suite.settings import ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from pytest_evalrun.adapters.protocol import Adapter
    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.settings import Settings


@dataclass(frozen=True)
class OnnxSettings:
    """Which output is the prediction, and what it means."""

    output: Mapping[str, Any] = field(default_factory=dict)


class Onnx(ModelKind):
    """A model file for ONNX Runtime.

    ``output`` is no part of its identity: it counts of every kind, as it did before kinds had words of their own.
    """

    Own = OnnxSettings
    version = 2
    in_yaml = frozenset({"output"})

    @classmethod
    def schema(cls) -> type[BaseModel]:
        from pytest_evalrun.adapters.schema import OnnxModel

        return OnnxModel

    @classmethod
    def identity(cls, settings: Settings, root: str, hashes: Hashes) -> dict[str, Any]:
        return {}

    @classmethod
    def model_files(cls, model: Path, hashes: Hashes) -> list[str]:
        """Weights that the model keeps in files of their own."""
        if not model.is_file():
            return []
        from pytest_evalrun.adapters.onnx_data import external_data

        return external_data(model, hashes)

    @classmethod
    def create(cls, settings: Settings, path: str | None, root: str) -> Adapter:
        from pytest_evalrun.adapters.onnx import OnnxAdapter

        return OnnxAdapter(path, settings.params, settings.preprocess, settings.own.output)


@dataclass(frozen=True)
class PythonSettings:
    """How many samples are asked for at once where they are asked one by one, and which errors may pass then."""

    concurrency: int | None = None
    retry_on: Sequence[str] = ()


class Python(ModelKind):
    """The user's own class or function, which ``adapter`` names by its path or dotted name."""

    Own = PythonSettings
    can_act = True
    in_yaml = frozenset({"retry_on"})

    @classmethod
    def schema(cls) -> type[BaseModel]:
        from pytest_evalrun.adapters.schema import PythonModel

        return PythonModel

    @classmethod
    def mistakes(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        """Complain of what only endpoints understand, where a word of theirs stands for all models of a suite."""
        concurrency = settings.own.concurrency
        if concurrency is not None and not isinstance(concurrency, int):
            yield "concurrency", f"{found(concurrency)}; accepted with {settings.adapter}: a number from 1"

    @classmethod
    def identity(cls, settings: Settings, root: str, hashes: Hashes) -> dict[str, Any]:
        """Nothing of its own: how many are asked at once, and how often, changes no answer."""
        return {}

    @classmethod
    def source(cls, settings: Settings, root: str) -> Path | None:
        from pytest_evalrun.suite.objects import source_file

        assert settings.adapter is not None, "it is what names the kind"
        return source_file(settings.adapter, root)

    @classmethod
    def create(cls, settings: Settings, path: str | None, root: str) -> Adapter:
        from pytest_evalrun.adapters.python import PythonAdapter

        assert settings.adapter is not None, "it is what names the kind"
        own = settings.own
        return PythonAdapter(
            settings.adapter, root, path, settings.params, concurrency=own.concurrency, retry_on=own.retry_on
        )
