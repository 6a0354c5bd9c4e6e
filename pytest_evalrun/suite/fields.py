"""Types of single values of evalrun.yaml, which pydantic checks; the words of its errors are the user's."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from pytest_evalrun.suite.jsontext import json_path

# The end of a log explains what went wrong.
SMALLEST_LOG = 100_000
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGT]?)(i?)B?")
# Said in the way to a value of a list that may also be the name of a file.
ENTRIES = "…entries"
# The same of a mapping that may be of names, or of what one of them has.
ONE, NAMED = "…one", "…named"
# What pydantic says of its own.
TAGS = frozenset({ENTRIES, ONE, NAMED})
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
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if 0 <= number < 1:
        return number
    if share == 1 and number.is_integer() and number >= 1:
        return int(number)
    raise ValueError("a count such as 3, or a share below 1 such as 0.05 or 5%")


def _drop(value: Any) -> float | str:
    """An amount in the metric's unit, or a share of the baseline, which stays the text that it is."""
    share = isinstance(value, str) and value.endswith("%")
    try:
        number = float(value.removesuffix("%") if isinstance(value, str) else _no_bool(value))
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (0 <= number < (100 if share else math.inf)):
        raise ValueError("an amount from 0 in the metric's unit such as 0.01, or a share of the baseline such as 5%")
    return f"{number:g}%" if share else number


def _at_once(value: Any) -> int | str:
    """A number, or the least, the first and the most of one that is found out."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if (type(value) is int and value >= 1) or (isinstance(value, str) and re.fullmatch(_AT_ONCE_PATTERN, value)):
        return value
    raise ValueError("a number from 1, or least-start-most as in 10-20-100")


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


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a regular expression of Python's ({error})") from None
    return value


def _letters(value: Any) -> Any:
    """True, or the letters themselves."""
    if value is True:
        return value
    letters = value.upper() if isinstance(value, str) else ""
    if not (letters.isascii() and letters.isalpha() and len(set(letters)) == len(letters) > 1):
        raise ValueError("letters such as ABCD, or true with `options: COLUMN`")
    return letters


def _path(value: str) -> str:
    json_path(value)
    return value


def _on(value: Any) -> Any:
    if value is not True:
        raise ValueError("true; leave the key out for another way")
    return value


def _host_key(value: str) -> str:
    if value in ("check", "accept-new") or value.startswith("SHA256:"):
        return value
    raise ValueError("check, accept-new, or the fingerprint SHA256:… of its key")


# Never seen in a layer: only what was given is taken over.
UNSET: Any = None

# What editors are told: a word alone stands for a list of one, and numbers for the texts that spell them.
_LISTED = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
_SPELLED = WithJsonSchema({"type": ["string", "number"]})
_METRIC = WithJsonSchema(
    {"anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}
)
_AT_ONCE_PATTERN = r"\s*[1-9]\d*\s*-\s*[1-9]\d*\s*-\s*[1-9]\d*\s*"
_AT_ONCE = WithJsonSchema(
    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": rf"^(\d+|{_AT_ONCE_PATTERN})$"}]}
)
_MEMORY = WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]})
_SHARE = WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+%?$"}]})

Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
Letters = Annotated[Any, AfterValidator(_letters), WithJsonSchema({"type": ["string", "boolean"]})]
JsonPath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
On = Annotated[Any, AfterValidator(_on), WithJsonSchema({"const": True})]
Words = Annotated[list[str], BeforeValidator(_words), _LISTED]
Tags = Annotated[list[Annotated[str, AfterValidator(_marker)]], BeforeValidator(_words), _LISTED]
Names = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_alone), _LISTED]
Count = Annotated[int, Field(ge=0), BeforeValidator(_no_bool)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_no_bool)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_no_bool)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_bool)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_bool)]
Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(_no_bool)]
Name = Annotated[str, Field(min_length=1)]
AnswerName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Extension = Annotated[Name, AfterValidator(_extension)]
HostKey = Annotated[Name, AfterValidator(_host_key)]
Inside = Annotated[Name, AfterValidator(_inside)]
MayBeInside = Annotated[Name | None, AfterValidator(_inside)]
OutSubdir = Annotated[Name | None, AfterValidator(_out_subdir)]
Spelled = Annotated[str, BeforeValidator(_text), _SPELLED]
Metrics = Annotated[
    list[Annotated[Any, AfterValidator(_metric), _METRIC]],
    BeforeValidator(_words),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": _METRIC.json_schema}]}),
]
MaxFailed = Annotated[Any, AfterValidator(_max_failed), _SHARE]
Drop = Annotated[Any, AfterValidator(_drop), _SHARE]
# Nearer to 1 no quantile is a number any more.
Confidence = Annotated[float, Field(ge=0.5, le=0.999999, allow_inf_nan=False), BeforeValidator(_no_bool)]
Size = Annotated[Any, AfterValidator(_size), _MEMORY]
AtOnce = Annotated[Any, AfterValidator(_at_once), _AT_ONCE]


class Strict(BaseModel):
    # Keys may begin with `model_`: what pydantic keeps to itself starts otherwise.
    model_config = ConfigDict(extra="forbid", populate_by_name=False, protected_namespaces=())
