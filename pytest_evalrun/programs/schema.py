"""What programs add to evalrun.yaml, here and on boards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_evalrun.suite.fields import UNSET, Name, Spelled, Strict, Words

Command = Annotated[list[Spelled], Field(min_length=1)]


class ResultsModel(Strict):
    csv: Name = UNSET
    """Template of the CSV files with a row a sample."""
    jsonl: Name = UNSET
    """Template of the JSON Lines files with a row a sample."""
    files: Name = UNSET
    """Template of the file that is a sample's answer, as in `{id}.png`."""
    metrics: Name = UNSET
    """Template of the JSON object of metrics that the program has computed itself."""
    id_column: Name = UNSET
    """The column of ids. Default: the suite's `id_column`, or `id`."""
    prediction: Name = UNSET
    """The column that is the prediction. Default: all columns but the id."""


class ProgramModel(Strict):
    command: Annotated[str | Command, Field(union_mode="left_to_right")] | None = None
    """How the program is called: a text that is split as a shell splits words, or a list of words. Placeholders are
    in `command.md`.
    """
    shell: bool = UNSET
    """Whether the text of `command` is run by `sh -c`; values that stand in it are quoted."""
    ask: Literal["pair", "batch", "server"] = UNSET
    """How often the program is started: once a `pair` or shard, once a `batch`, or once and kept running as a
    `server`.
    """
    results: ResultsModel | None = None
    """What the program leaves, and where: one of csv, jsonl, files, metrics."""
    rows: Literal["one", "any"] = UNSET
    """How many rows a sample has in the program's results: `one`, or `any` number, which make a list."""
    remote: bool = UNSET
    """Whether a `command` of yours talks to a board by itself: it gets one, leased and prepared."""
    upload: Words = UNSET
    """Files, directories and globs of the suite that go along to a board; those in `command` go by themselves."""
