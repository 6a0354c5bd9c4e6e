"""The file of ``--eval-dlc-config``: OpenCompass' keys for DLC, checked, and what the tool ``dlc`` knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.fields import Name, Positive, Spelled, Strict
from pytest_evalrun.suite.loading import read_yaml
from pytest_evalrun.suite.validation import validated

if TYPE_CHECKING:
    from pathlib import Path

# What OpenCompass has beside these, and why it is refused: each is said in one place only.
ELSEWHERE = {
    "max_num_workers": "--eval-jobs says how many jobs may run at once",
    "retry": "--eval-crash-retries says how often what died is run again",
    "eval_with_gpu": "`gpus` of a suite says what needs GPUs",
    "worker_gpu": "`gpus` of a suite says what needs GPUs",
    "num_gpus": "`gpus` of a suite says what needs GPUs",
    "task": "the suites say what is run",
    "type": "--eval-engine says where jobs run",
    "debug": "`pytest` without --eval-engine runs items here, where they can be debugged",
    "keep_tmp_file": "what a job was given is kept in the directory of the run, below engine/",
    "lark_bot_url": "jobs send no messages",
}
# Taken, for files that are used by both, though nothing here needs them.
WITHOUT_EFFECT = {
    "dlc_job_cmd": "jobs are made by the SDK, not by the tool `dlc`",
    "dlc_sleep_time": "jobs are asked for as often as those of every engine",
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def _commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _assignment(value: str) -> str:
    if _VARIABLE.match(value):
        return value
    raise ValueError("NAME=value")


def _gigabytes(value: Any) -> Any:
    """The tool writes ``192Gi``."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]+ *(Gi|GiB)?", value):
        return int(value.rstrip("GiB "))
    return value


Sources = Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]], BeforeValidator(_commas)]
Assignment = Annotated[str, AfterValidator(_assignment)]
Gigabytes = Annotated[Positive, BeforeValidator(_gigabytes)]


class DlcModel(Strict):
    """How jobs of Alibaba's DLC are made, with the keys and defaults of OpenCompass' `aliyun_cfg`, and a few more."""

    workspace_id: Spelled
    """The workspace that jobs belong to. Needed."""
    resource_id: Spelled
    """The quota whose machines they use. Needed."""
    worker_image: Name
    """The image that they run in. Needed."""
    data_sources: Sources = Field(default=[])
    """Ids of the data sets that are mounted; one of them must hold the project and its runs, under the same path."""
    priority: Annotated[int, Field(ge=1, le=9)] = 1
    """1 to 9, the highest."""
    preemptible: bool = False
    """Jobs of a higher priority may take the machine; what was lost goes back without counting."""
    worker_cpu: Positive = 12
    """CPUs, at least; 8 for each GPU if that is more."""
    worker_memory: Gigabytes = 192
    """GiB of memory, at least; 128 for each GPU if that is more."""
    python_env_path: Name | None = None
    """A directory whose `bin` comes first in `PATH`."""
    bashrc_path: Name | None = None
    """A file that is sourced first; `conda_env_name` is activated then."""
    conda_env_name: Name | None = None
    """The environment of conda that is activated, after `bashrc_path`."""
    pre_cmd: Name | None = None
    """A line of shell before all else."""
    dlc_config_path: Name | None = None
    """The configuration of the tool `dlc` (`~/.dlc/config`): endpoint, region and access key are read from it."""
    endpoint: Name | None = None
    """The host of the service, as in `pai-dlc.cn-hangzhou.aliyuncs.com`. Default: that of the region."""
    region: Name | None = None
    """The region, as in `cn-hangzhou`. Default: `ALIBABA_CLOUD_REGION_ID`."""
    protocol: Literal["https", "http"] | None = None
    """Default: `https`."""
    huggingface_cache: Name | None = None
    """The directory for `HF_HUB_CACHE`."""
    torch_cache: Name | None = None
    """The directory for `TORCH_HOME`."""
    hf_offline: bool = True
    """Hugging Face's libraries ask nobody for anything."""
    hf_endpoint: Name | None = None
    """`HF_ENDPOINT`."""
    http_proxy: Name | None = None
    """The proxy, in `http_proxy`, `https_proxy`, `HTTP_PROXY` and `HTTPS_PROXY`."""
    extra_envs: list[Assignment] = Field(default=[])
    """Variables more, as `NAME=value`; `$NAME` in a value is read at the node."""
    dlc_job_cmd: Literal["create", "submit"] | None = None
    """Accepted, and without effect."""
    dlc_sleep_time: Annotated[float, Field(ge=0)] | None = None
    """Accepted, and without effect."""


@dataclass(frozen=True)
class Access:
    """Where the service is, and who asks; what is None is found by the SDK itself."""

    endpoint: str | None = None
    region: str | None = None
    protocol: str | None = None
    access_id: str | None = None
    access_key: str | None = None
    security_token: str | None = None


@dataclass(frozen=True)
class DlcConfig:
    """``words`` as the file has them; ``remarks`` are for the user to see."""

    file: str
    words: DlcModel
    access: Access
    remarks: tuple[str, ...] = ()


def read_dlc_config(file: Path) -> DlcConfig:
    """Read a YAML or JSON file: OpenCompass' ``aliyun_cfg``, or the mapping that holds it beside ``preemptible``.

    Raises ConfigError with file, line and key, what was found, and what is accepted.
    """
    document = read_yaml(str(file))
    inside = ("aliyun_cfg",) if isinstance(document.values.get("aliyun_cfg"), dict) else ()
    given = {key: value for key, value in document.values.items() if key not in inside}
    above = frozenset(given) if inside else frozenset[str]()
    given |= document.values["aliyun_cfg"] if inside else {}

    def place(where: tuple[str | int, ...]) -> str:
        return document.place(where if where[:1] and where[0] in above else (*inside, *where))

    refused = [f"{place((key,))}: is not accepted here; {why}" for key, why in ELSEWHERE.items() if key in given]
    if refused:
        raise ConfigError("\n".join(refused))
    words = DlcModel(**validated(DlcModel, given, place))
    if (words.bashrc_path is None) != (words.conda_env_name is None):
        missing, there = sorted(("bashrc_path", "conda_env_name"), key=lambda key: getattr(words, key) is not None)
        raise ConfigError(f"{place((there,))}: goes with {missing}, which is missing")
    remarks = [f"{place((key,))}: has no effect; {why}" for key, why in WITHOUT_EFFECT.items() if key in given]
    tool = _tool_config(words.dlc_config_path, file.parent, place(("dlc_config_path",)))
    own = {key: value for key in ("endpoint", "region", "protocol") if (value := getattr(words, key)) is not None}
    return DlcConfig(str(file), words, Access(**(tool | own)), tuple(remarks))


def _tool_config(path: str | None, beside: Path, place: str) -> dict[str, str]:
    """Read what the tool ``dlc`` has written about itself: TOML with the tables that its versions differ in."""
    if path is None:
        return {}
    import tomllib
    from pathlib import Path

    file = beside / Path(path).expanduser()
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{place}: {file}: {error.strerror}; accepted: the configuration of the tool dlc") from None
    except ValueError:
        # Never with a line of it: there is an access key in there.
        raise ConfigError(f"{place}: {file} is not the TOML that `dlc config` writes") from None
    values: dict[str, Any] = {}
    for key, value in content.items():
        values |= value if isinstance(value, dict) else {key: value}
    return {key: str(values[key]) for key in Access.__dataclass_fields__ if values.get(key)}
