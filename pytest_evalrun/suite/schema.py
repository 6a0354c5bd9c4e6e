"""What may stand in evalrun.yaml and in every other layer, as pydantic models; below each key what it means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
)

from pytest_evalrun.suite.clusterschema import BatchSystemModel, RayModel  # noqa: TC001 - fields are read by pydantic
from pytest_evalrun.suite.fields import (
    ENTRIES,
    NAMED,
    ONE,
    UNSET,
    AnswerName,
    Count,
    DType,
    Extension,
    HostKey,
    Inside,
    JsonPath,
    Layout,
    Letters,
    MaxFailed,
    MayBeInside,
    Metrics,
    Name,
    Names,
    NotNegative,
    Number,
    On,
    OutSubdir,
    Pattern,
    Port,
    Positive,
    Seconds,
    Size,
    Spelled,
    Strict,
    Tags,
    Words,
)
from pytest_evalrun.suite.gateschema import GateModel, GateRulesModel  # noqa: TC001 - fields are read by pydantic


class PreprocessModel(Strict):
    input: Literal["image", "vector", "raw"] = UNSET
    """What a file is read as. Default: `raw` for `.bin`, `.raw` and `.npy`, `image` for other files, `vector` for
    columns of a table.
    """
    color: Literal["rgb", "gray"] = UNSET
    """Whether an image is read in colors or in gray. Default: `rgb`; `gray` where the layout has no channels."""
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] = UNSET
    """Width and height that an image is scaled to."""
    layout: Layout = UNSET
    """The order of the axes that the model takes. Default: `NCHW`."""
    dtype: DType = UNSET
    """The type of the numbers that the model takes. Default: that of its input."""
    scale: Number = UNSET
    """What every number is multiplied by."""
    mean: Number | list[Number] = UNSET
    """What is taken away from every number after `scale`: one number, or one a channel."""
    std: Number | list[Number] = UNSET
    """What every number is divided by after `mean`: one number, or one a channel."""
    shape: list[Positive] = UNSET
    """The shape of a raw file. Default: that of the model's input, where it is fixed."""
    raw_dtype: DType = UNSET
    """The type of the numbers in a raw file. Default: `dtype`, or that of the model's input."""
    orient: Literal["exif"] = UNSET
    """`exif` turns inputs as their EXIF data say; otherwise that is told once in the log."""


class DeviceEntry(Strict):
    """A board: where it is, how to get in, what it can do."""

    name: Name
    """What people call the board."""
    host: Name = UNSET
    """Its address, or a `Host` of `~/.ssh/config`. Default: its name."""
    user: Name = UNSET
    """Who logs in. Default: what ssh would do."""
    port: Port = UNSET
    """The port of its SSH server. Default: what ssh would do."""
    identity_file: Names = UNSET
    """A private key, or a list of them. Default: those of ssh, and its agent."""
    jump: Name = UNSET
    """Servers to pass on the way, `user@gate:22,user@next`, or `none`. Default: ProxyJump."""
    password_env: Name = UNSET
    """The environment variable that holds its password; never the password."""
    host_key: HostKey = UNSET
    """How its host key is checked: `check`, `accept-new`, or a fingerprint `SHA256:…`. Default: `check`."""
    known_hosts: Name = UNSET
    """The file that knows its host key. Default: those of ssh."""
    home: Name = UNSET
    """Where our directories are made on it. Default: `REMOTE_TASK_HOME`, or the user's home."""
    labels: dict[str, Spelled] = UNSET
    """What it is, for `device` to choose by."""
    slots: Positive = UNSET
    """So many models may have it at once. Default: 1."""
    patience: NotNegative = UNSET
    """Seconds for which a lost board is waited for. Default: 30."""


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
    """The boards."""


class JsonAnswerModel(Strict):
    path: JsonPath = UNSET
    """The way to the value, as in `path.to[0].field`. Default: all of the JSON."""
    schema_: dict[str, Any] = Field(default=UNSET, alias="schema")
    """A JSON Schema that the JSON must fit; extra `text`."""


class AnswerModel(Strict):
    """One way to take the answer out of what a model said: the last match wins."""

    letter: Letters = UNSET
    """The letter of an option: `ABCD` are those there may be; `true` for as many as the sample has options."""
    regex: Pattern = UNSET
    """The first group of the last match, or the whole match where there is no group."""
    after: Name = UNSET
    """What follows this text, to the end of its line."""
    json_: On | JsonPath | JsonAnswerModel = Field(default=UNSET, alias="json")
    """The last object or list of JSON: `true` for all of it, a path to a value in it, or `path` and `schema`."""
    last_number: On = UNSET
    """The last number, `1,234.5` and `-3` too, without currency and %."""
    first_line: On = UNSET
    """The first line that is not empty."""
    options: Name = UNSET
    """The column that holds the options of a sample. Default: `choices` of the prompt."""
    after_think: bool = UNSET
    """Whether only what follows the last `</think>` counts."""
    strip: bool = UNSET
    """Whether an answer is without the blanks around it. Default: true."""


def _kind_of_answer(value: Any) -> str:
    known = {field.alias or name for name, field in AnswerModel.model_fields.items()}
    return NAMED if isinstance(value, dict) and value and known.isdisjoint(value) and _all_named(value) else ONE


def _all_named(value: dict[Any, Any]) -> bool:
    return all(isinstance(way, dict | AnswerModel) for way in value.values())


# One way, or several by name.
Answer = Annotated[
    Annotated[AnswerModel, Tag(ONE)] | Annotated[dict[AnswerName, AnswerModel], Tag(NAMED)],
    Discriminator(_kind_of_answer),
]


class SettingsModel(Strict):
    """Every setting that all kinds of models have; all may be left out, and None is only what unsets one.

    Where these may stand, the words of a kind may stand beside them.
    """

    adapter: Name | None = None
    """What kind the model is: a kind by name, or a class or function of yours, `./file.py:Name` or
    `package.module:Name`.
    """
    params: dict[str, Any] = UNSET
    """Parameters of the model: arguments of your class, placeholders of a command."""
    preprocess: PreprocessModel = UNSET
    """How files and columns become the input of an ONNX model; raw references are read so, too."""
    format: Name = UNSET
    """What kind the data are: a kind by name, or a reader of yours, `./reader.py:Name`."""
    in_subdir: MayBeInside = None
    """The directory inside a dataset that has the inputs."""
    suffixes: Words = UNSET
    """Suffixes of the files that make one sample, as in `_y.bin, _uv.bin`."""
    labels: Name | None = None
    """A CSV file with the columns `id` and `label`: the references of `files`."""
    references: Name | None = None
    """The directory beside the inputs that has the reference files of the samples, by name, stem or the same
    suffixes.
    """
    id_column: Name | None = None
    """The column of a table that has the ids. Default: a sample's place in the table."""
    inputs: Words = UNSET
    """The columns of a table that are the input; one alone is given bare."""
    reference: Name | None = None
    """The column of a table that has the reference."""
    reader: dict[str, Any] = UNSET
    """Options of the kind of data."""
    answer: Answer | None = UNSET
    """How the answer is taken out of what the model said, before it is scored: one way, or several by name."""
    metrics: Metrics = UNSET
    """Metrics by name or as `./metric.py:Name`; with parameters as in `topk: {k: 3}`; `name` in the parameters
    renames one.
    """
    gates: dict[str, GateModel] = UNSET
    """Conditions on metrics, by the metric's name. A breached gate fails the test."""
    gate_rules: GateRulesModel = UNSET
    """How gates are judged, where they do not say it themselves."""
    max_batch_size: Positive = UNSET
    """Samples that the model is asked for at once, at most."""
    retries: Count = UNSET
    """So many times a failed batch, or a program, is tried again."""
    max_failed: MaxFailed = UNSET
    """So many samples may fail before the pair is an ERROR: a count of the whole dataset, or a share such as `0.05`
    or `5%`.
    """
    out_subdir: OutSubdir = None
    """Where models write files: `.NAME` for a directory of the suite, an absolute path, or `NAME` for one of each
    dataset. Default: `outputs/` in the run.
    """
    fingerprint: Literal["content", "stat"] = UNSET
    """How changed files are noticed: by their `content`, or by name, size and time (`stat`) for trees too big to
    read.
    """
    limit: Positive | None = None
    """Only the first so many samples of each dataset are asked for; such a result is never taken for a full one."""
    shards: Positive | None = None
    """So many equal ranges the pair is cut into; each is an item of its own."""
    shard_size: Positive | None = None
    """So many samples each range has; instead of `shards`."""
    range: Literal["position", "id"] = UNSET
    """What `{low}` and `{high}` count: samples from 0 by `position`, or values of the id column."""
    generations: Positive = UNSET
    """So many times the model is asked for each sample; each answer is kept. Default: 1."""
    timeout: Seconds | None = None
    """Seconds after which a pair is an ERROR. Waiting for a GPU or a board does not count."""
    log_limit: Size = UNSET
    """So much of a pair's output its log keeps, as in `100MB` or `512MiB`: the beginning and the end."""
    gpus: Count = UNSET
    """So many GPUs the model has of its own."""
    min_gpu_memory: NotNegative = UNSET
    """So many GB must be free on each of its GPUs when it is loaded."""
    workers_per_gpu: Positive = UNSET
    """So many models may share one GPU."""
    devices: Devices | None = UNSET
    """The boards: a list, or the name of a file that has one."""
    device: dict[str, Spelled] = UNSET
    """The labels that a board must have."""
    optional: bool = UNSET
    """Whether a pair is SKIPPED, not an error, where the GPUs or boards that it needs are not there."""
    post_process_plugin: str | None = None
    """The word of `task_run.sh`, handed to programs as it is; metrics of ours that it names, separated by commas,
    are added to `metrics`, to those of a program only where there are none.
    """
    task: Name | None = None
    """Of `format: agentbench`: the task of the task server, whose indices are the samples. Default: the dataset's name.
    """
    controller: Name | None = None
    """Where the task server's controller is, as in `http://127.0.0.1:5000/api`. Without one it is started for the
    launch, with the workers of `tasks`.
    """
    tasks: dict[str, Any] | Name | None = None
    """The tasks by name, each with `module` and `parameters`, for which workers are started; or a YAML file of
    AgentBench that has them.
    """
    task_concurrency: Positive | None = None
    """So many samples of the task may be under way at once, whatever the agent's `concurrency` and its workers allow.
    """
    takeover: Name | None = None
    """An output directory of AgentBench's assigner, relative to the suite: samples that are finished there count."""
    slurm: Name | None = None
    """Words for `sbatch`, as they are: what jobs of `--eval-engine slurm` need besides their GPUs, as in
    `--mem=64G --constraint=a100`.
    """
    ray: RayModel = UNSET
    """What jobs of `--eval-engine ray` need besides their GPUs."""
    secrets_env: Words = UNSET
    """Names of variables that jobs are handed whose cluster hands on none: those of Ray and DLC."""
    env: dict[str, Spelled] = UNSET
    """Variables that are added to a program's environment."""


class LayerModel(SettingsModel):
    """What a script, an environment or a command line may say: settings, and what tells models from other files."""

    model_file_ext: Extension = UNSET
    """The suffix that tells models from other files."""


class DiscoverModel(Strict):
    model_file_ext: Extension = UNSET
    """The suffix that tells models from other files."""
    in_subdir: Inside = UNSET
    """The directory inside a dataset that has the inputs; what has none is no dataset."""
    max_depth: Positive = UNSET
    """So many levels of directories are searched for models."""


class ModelEntry(SettingsModel):
    name: Name = UNSET
    """What the model is called. Default: the stem of its path."""
    path: Name = UNSET
    """The model's file or directory, relative to the suite; a glob makes one model of each match."""
    tags: Tags = UNSET
    """Words that become pytest markers of its pairs."""
    skip: Name = UNSET
    """Why its pairs are skipped."""


class DatasetEntry(SettingsModel):
    name: Name = UNSET
    """What the dataset is called. Default: the stem of its path."""
    path: Name = UNSET
    """The dataset's file or directory, relative to the suite; a glob makes one dataset of each match. `hf://OWNER/NAME`
    is one of the hub, for `format: hf`.
    """
    tags: Tags = UNSET
    """Words that become pytest markers of its pairs."""
    skip: Name = UNSET
    """Why its pairs are skipped."""


class OverrideEntry(SettingsModel):
    match: Name
    """The pairs that it is for: a pattern of `task/dataset`, as in `*/noisy`."""
    tags: Tags = UNSET
    """Words that become pytest markers of these pairs."""
    skip: Name = UNSET
    """Why these pairs are skipped."""


class SuiteModel(SettingsModel):
    """evalrun.yaml itself."""

    name: Name = UNSET
    """What the suite is called. Default: the name of its directory."""
    imports: Names = Field(default=UNSET, alias="import")
    """YAML files whose settings lie below those of this file. Code and examples to show that they name may lie beside
    them; all other paths are relative to the suite.
    """
    script: Name = UNSET
    """An `eval.sh`: its leading `NAME=value` lines are settings, and without `command` it is what is run."""
    discover: DiscoverModel = UNSET
    """The tree layout: models and datasets are what is on disk."""
    models: list[ModelEntry] = UNSET
    """The matrix layout: the models."""
    datasets: list[DatasetEntry] = UNSET
    """The matrix layout: the datasets."""
    assignment: Name = UNSET
    """Instead of models and datasets: an assignment of AgentBench's, whose agents and tasks they are, relative to the
    suite.
    """
    batch_system: BatchSystemModel = UNSET
    """The batch system of `--eval-engine command`."""
    prompts: dict[str, dict[str, Any] | None] = UNSET
    """Prompts by name, each laid over `prompt`: every model that is sent one becomes a task for each, `model@name`."""
    overrides: list[OverrideEntry] = UNSET
    """Settings for some pairs, above those of models and datasets."""
    tags: Tags = UNSET
    """Words that become pytest markers of all pairs."""


SETTINGS = frozenset(SettingsModel.model_fields)
# Keys of files and their entries that are no settings.
STRUCTURE = frozenset(
    field.alias or name
    for model in (SuiteModel, ModelEntry, DatasetEntry, OverrideEntry, LayerModel)
    for name, field in model.model_fields.items()
    if name not in SETTINGS
)
