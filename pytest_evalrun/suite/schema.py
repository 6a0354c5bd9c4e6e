"""What may stand in evalrun.yaml and in every other layer, as pydantic models; the words are the user's."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

# The end of a log explains what went wrong.
SMALLEST_LOG = 100_000
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGT]?)(i?)B?")
# What pydantic says of its own in the way to a value of a list that may also be the name of a file.
ENTRIES = "…entries"
Layout = Literal["NCHW", "NHWC", "NHW", "HW"]
DType = Literal["float32", "float64", "float16", "uint8", "int8", "int32", "int64"]

# What `-m` reads as its own, and markers that do something.
TAKEN = frozenset({"and", "or", "not", "True", "False", "None"}) | frozenset(
    {"filterwarnings", "parametrize", "skip", "skipif", "usefixtures", "xfail", "xdist_group"}
)


def _words(value: Any) -> Any:
    """A list, or its items with commas, as in an environment variable."""
    return [word for item in value.split(",") if (word := item.strip())] if isinstance(value, str) else value


def _alone(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def _marker(value: str) -> str:
    if not value.isidentifier() or value in TAKEN:
        raise ValueError("a word of letters, digits and _ that pytest itself does not use, because it becomes a marker")
    return value


def _extension(value: str) -> str:
    return value if value.startswith(".") else f".{value}"


def _inside(value: str | None) -> str | None:
    """A directory of the dataset; names from the user must not lead out of it."""
    if value is not None and (value.startswith("/") or ".." in value.split("/")):
        raise ValueError("a directory inside the dataset, without '..'")
    return value


def _out_subdir(value: str | None) -> str | None:
    if value is not None and ".." in value.split("/"):
        raise ValueError(".NAME for a directory of the suite, an absolute path, or NAME for one of each dataset")
    return value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _max_failed(value: Any) -> float | int:
    """A count, or a share below 1."""
    share = 0.01 if isinstance(value, str) and value.endswith("%") else 1
    try:
        number = float(value.removesuffix("%") if isinstance(value, str) else _no_bool(value)) * share
    except (TypeError, ValueError):
        number = math.nan
    if 0 <= number < 1:
        return number
    if share == 1 and number.is_integer() and number >= 1:
        return int(number)
    raise ValueError("a count such as 3, or a share below 1 such as 0.05 or 5%")


def _size(value: Any) -> int:
    """Bytes, or a number with a unit."""
    found = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    size = 0
    if found is not None:
        number, unit, binary = found.groups()
        size = int(float(number) * (1024 if binary else 1000) ** "_kmgt".index(unit.lower() or "_"))
    if size < SMALLEST_LOG:
        raise ValueError(
            f"a size of {SMALLEST_LOG // 1000}kB or more such as 100MB, 1.5GB, 512MiB, or a number of bytes"
        )
    return size


def _metric(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((use, params),) = value.items()
        if params is None:
            return use
        if use and isinstance(params, dict) and isinstance(params.get("name", ""), str):
            return value
    raise ValueError("a name, ./file.py:Name, or one of them with parameters as in `topk: {k: 3}`")


def _host_key(value: str) -> str:
    if value in ("check", "accept-new") or value.startswith("SHA256:"):
        return value
    raise ValueError("check, accept-new, or the fingerprint SHA256:… of its key")


# Never seen in a layer: only what was given is taken over.
UNSET: Any = None

Words = Annotated[list[str], BeforeValidator(_words)]
Tags = Annotated[list[Annotated[str, AfterValidator(_marker)]], BeforeValidator(_words)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=0)]
Positive = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
EnvValue = Annotated[str, BeforeValidator(_text)]
Metrics = Annotated[list[Annotated[Any, AfterValidator(_metric)]], BeforeValidator(_words)]


class Strict(BaseModel):
    # Keys may begin with `model_`: what pydantic keeps to itself starts otherwise.
    model_config = ConfigDict(extra="forbid", populate_by_name=False, protected_namespaces=())


class GateModel(Strict):
    min: Number = UNSET
    max: Number = UNSET
    max_drop: Annotated[Number, Field(ge=0)] = UNSET
    baseline: Number | Name = UNSET


class PreprocessModel(Strict):
    input: Literal["image", "vector", "raw"] = UNSET
    color: Literal["rgb", "gray"] = UNSET
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] = UNSET
    layout: Layout = UNSET
    dtype: DType = UNSET
    scale: Number = UNSET
    mean: Number | list[Number] = UNSET
    std: Number | list[Number] = UNSET
    shape: list[Positive] = UNSET
    raw_dtype: DType = UNSET
    orient: Literal["exif"] = UNSET


class DeviceEntry(Strict):
    """A board: where it is, how to get in, what it can do."""

    name: Name
    host: Name = UNSET
    user: Name = UNSET
    port: Annotated[Positive, Field(le=65535)] = UNSET
    identity_file: Annotated[list[Name], BeforeValidator(_alone)] = UNSET
    jump: Name = UNSET
    password_env: Name = UNSET
    host_key: Annotated[Name, AfterValidator(_host_key)] = UNSET
    known_hosts: Name = UNSET
    home: Name = UNSET
    labels: dict[str, EnvValue] = UNSET
    slots: Positive = UNSET
    patience: Annotated[Number, Field(ge=0)] = UNSET


def _kind_of_devices(value: Any) -> str | None:
    return ENTRIES if isinstance(value, list) else "file" if isinstance(value, str) else None


# A mistake in one board is told of that board, not of the list.
Devices = Annotated[
    Annotated[list[DeviceEntry], Tag(ENTRIES)] | Annotated[Name, Tag("file")],
    Discriminator(
        _kind_of_devices,
        custom_error_type="devices",
        custom_error_message="a list of boards, or the name of a file that has one",
    ),
]


class DevicesModel(Strict):
    """A file of boards."""

    devices: list[DeviceEntry]


class SettingsModel(Strict):
    """Every setting that all kinds of models have; all may be left out, and None is only what unsets one.

    Where these may stand, the words of a kind may stand beside them.
    """

    adapter: Name | None = None
    params: dict[str, Any] = UNSET
    preprocess: PreprocessModel = UNSET
    format: Name = UNSET
    in_subdir: Annotated[Name | None, AfterValidator(_inside)] = None
    suffixes: Words = UNSET
    labels: Name | None = None
    references: Name | None = None
    id_column: Name | None = None
    inputs: Words = UNSET
    reference: Name | None = None
    reader: dict[str, Any] = UNSET
    metrics: Metrics = UNSET
    gates: dict[str, GateModel] = UNSET
    max_batch_size: Positive = UNSET
    retries: Count = UNSET
    max_failed: Annotated[Any, AfterValidator(_max_failed)] = UNSET
    out_subdir: Annotated[Name | None, AfterValidator(_out_subdir)] = None
    fingerprint: Literal["content", "stat"] = UNSET
    limit: Positive | None = None
    shards: Positive | None = None
    shard_size: Positive | None = None
    range: Literal["position", "id"] = UNSET
    timeout: Annotated[Number, Field(gt=0)] | None = None
    log_limit: Annotated[Any, AfterValidator(_size)] = UNSET
    gpus: Count = UNSET
    min_gpu_memory: Annotated[Number, Field(ge=0)] = UNSET
    workers_per_gpu: Positive = UNSET
    devices: Devices | None = UNSET
    device: dict[str, EnvValue] = UNSET
    optional: bool = UNSET
    post_process_plugin: str | None = None
    env: dict[str, EnvValue] = UNSET


class LayerModel(SettingsModel):
    """What a script, an environment or a command line may say: settings, and what tells models from other files."""

    model_file_ext: Annotated[Name, AfterValidator(_extension)] = UNSET


class DiscoverModel(Strict):
    model_file_ext: Annotated[Name, AfterValidator(_extension)] = UNSET
    in_subdir: Annotated[Name, AfterValidator(_inside)] = UNSET
    max_depth: Positive = UNSET


class ModelEntry(SettingsModel):
    name: Name = UNSET
    path: Name = UNSET
    tags: Tags = UNSET
    skip: Name = UNSET


class DatasetEntry(SettingsModel):
    name: Name = UNSET
    path: Name
    tags: Tags = UNSET
    skip: Name = UNSET


class OverrideEntry(SettingsModel):
    match: Name
    tags: Tags = UNSET
    skip: Name = UNSET


class SuiteModel(SettingsModel):
    """evalrun.yaml itself."""

    name: Name = UNSET
    imports: Annotated[list[Name], BeforeValidator(_alone)] = Field(default=UNSET, alias="import")
    script: Name = UNSET
    discover: DiscoverModel = UNSET
    models: list[ModelEntry] = UNSET
    datasets: list[DatasetEntry] = UNSET
    overrides: list[OverrideEntry] = UNSET
    tags: Tags = UNSET


SETTINGS = frozenset(SettingsModel.model_fields)
# Keys of files and their entries that are no settings.
STRUCTURE = frozenset(
    field.alias or name
    for model in (SuiteModel, ModelEntry, DatasetEntry, OverrideEntry, LayerModel)
    for name, field in model.model_fields.items()
    if name not in SETTINGS
)
