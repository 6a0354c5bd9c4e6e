"""What programs add to evalrun.yaml, here and on boards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_evalrun.suite.schema import UNSET, EnvValue, Name, Strict, Words

Command = Annotated[list[EnvValue], Field(min_length=1)]


class ResultsModel(Strict):
    csv: Name = UNSET
    jsonl: Name = UNSET
    files: Name = UNSET
    metrics: Name = UNSET
    id_column: Name = UNSET
    prediction: Name = UNSET


class ProgramModel(Strict):
    command: Annotated[str | Command, Field(union_mode="left_to_right")] | None = None
    shell: bool = UNSET
    ask: Literal["pair", "batch", "server"] = UNSET
    results: ResultsModel | None = None
    rows: Literal["one", "any"] = UNSET
    remote: bool = UNSET
    upload: Words = UNSET
