"""What is sent of a sample: messages or a text, made of templates, examples, options and pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun import registry
from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.llm.columns import BARE, columns_of, options_in, text_of
from pytest_evalrun.llm.fewshot import Examples, reference_of
from pytest_evalrun.llm.pictures import IMAGE, is_elsewhere, is_picture, picture_columns, picture_url
from pytest_evalrun.llm.templates import AS_THEY_ARE, ROW, Template, listed, mistake_in, names_in, texts_in
from pytest_evalrun.suite.problems import accepted, found
from pytest_evalrun.suite.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Hashes, Sample
    from pytest_evalrun.llm.columns import Choices
    from pytest_evalrun.llm.fewshot import Example, Row
    from pytest_evalrun.suite.pairs import Dataset, Pair

    Messages = list[dict[str, Any]]


# Roles of what is said once, before all examples; newer models have the other name for it.
_OF_THE_SYSTEM = ("system", "developer")
# Between what is shown to a model that is sent one text.
GAP = "\n\n"


class Prompt:
    """What a suite's ``prompt:`` makes of each sample; ``root`` is the suite's directory.

    ``settings`` are the pair's: they say how the file of examples is read, and by which name templates have a bare
    input. ``data`` is the dataset's path, below which paths of pictures begin. Raises ConfigError, beginning with
    ``key``, for a template that is none.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        *,
        root: str,
        settings: Settings | None = None,
        data: str | None = None,
        key: str = "prompt",
    ) -> None:
        self._spec = spec
        self._key = key
        self._settings = settings or Settings()
        self._choices: str | None = spec.get("choices")
        self._names: Sequence[str] = self._settings.inputs
        self._below = _directories(root, data)
        self._system = [{"role": "system", "content": self._template(key, "system")}] if "system" in spec else []
        self._asked = list(self._templates())
        while self._asked and self._asked[0]["role"] in _OF_THE_SYSTEM:
            self._system.append(self._asked.pop(0))
        self._examples = self._fewshot(spec["fewshot"], root) if spec.get("fewshot") else None

    def messages(self, sample: Sample) -> Messages:
        """OpenAI's chat messages: of the system, of the examples with their answers, and what is asked.

        Raises PairError for a column that is missing, SampleError for what cannot be made of a sample's values.
        """
        columns, question, shown = self._parts(sample)
        made = self._rendered(self._system, columns)
        for example in shown:
            made += [*example.question, {"role": "assistant", "content": example.answer}]
        return made + question

    def text(self, sample: Sample) -> str:
        """The same as one text, for a model that goes on with it: each example's answer stands behind it."""
        columns, question, shown = self._parts(sample)
        parts = [self._plain(self._rendered(self._system, columns))] if self._system else []
        for example in shown:
            asked = self._plain(example.question)
            parts.append(f"{asked}{'' if asked[-1:].isspace() else ' '}{example.answer}")
        return GAP.join([*parts, self._plain(question)])

    def options(self, sample: Sample) -> list[str] | None:
        """The options of a question, lettered A, B, C …; None where the suite names no column of them."""
        return self._options(columns_of(sample.input, self._names))

    def identity(self, hashes: Hashes) -> dict[str, Any]:
        """What of the prompt an answer depends on, the content of the file of examples too, as JSON knows it.

        Raises PairError where that file cannot be read.
        """
        parts = dict(self._spec)
        if self._examples is not None:
            fewshot: dict[str, Any] = {**self._spec["fewshot"]}
            if "answer" not in fewshot:
                fewshot["reference"] = self._settings.reference
            try:
                fewshot["content"] = hashes.file(self._examples.path)
            except OSError as error:
                raise PairError(f"{self._examples.path}: prompt.fewshot.from: {error.strerror}") from None
            parts["fewshot"] = fewshot
        return parts

    def _template(self, key: str, name: str) -> Template:
        return Template(self._spec[name], f"{key}.{name}")

    def _templates(self) -> Iterator[dict[str, Any]]:
        """The messages that ask, texts as templates; none where the input is sent as it is."""
        if "template" in self._spec:
            yield {"role": "user", "content": self._template(self._key, "template")}
        for index, message in enumerate(self._spec.get("messages", ())):
            key = f"{self._key}.messages[{index}]"
            if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
                raise ConfigError(f"{key}: found {message!r:.80}; accepted: a mapping with `role` and `content`")
            yield _compiled(message, key)

    def _fewshot(self, spec: Mapping[str, Any], root: str) -> Examples:
        path = Path(root, spec["from"])
        template = Template(spec["answer"], f"{self._key}.fewshot.answer") if "answer" in spec else None

        def answer(row: Row) -> str:
            return template.render(row.everything) if template else reference_of(row, path)

        return Examples(spec, path, self._settings, self._question, answer)

    def _parts(self, sample: Sample) -> tuple[Mapping[str, Any], Messages, list[Example]]:
        columns = columns_of(sample.input, self._names)
        question = self._question(columns)
        return columns, question, self._examples.shown_to(sample.id, question) if self._examples else []

    def _question(self, columns: Mapping[str, Any]) -> Messages:
        return self._rendered(self._asked, columns) if self._asked else [self._as_it_is(columns)]

    def _options(self, columns: Mapping[str, Any]) -> Choices | None:
        return options_in(columns, self._choices) if self._choices else None

    def _rendered(self, messages: Messages, columns: Mapping[str, Any]) -> Messages:
        if not messages:
            return []
        seen = {**columns, "choices": self._options(columns)} if self._choices else columns
        return [self._filled(message, seen) for message in messages]

    def _filled(self, value: Any, columns: Mapping[str, Any]) -> Any:
        """A message with texts in place of templates, and a data URL in place of a column of pictures."""
        if isinstance(value, Template):
            return value.render(columns)
        if isinstance(value, list):
            return [self._filled(entry, columns) for entry in value]
        if not isinstance(value, dict):
            return value
        if IMAGE in value:
            return self._picture(value[IMAGE], columns)
        return {name: self._filled(entry, columns) for name, entry in value.items()}

    def _picture(self, column: str, columns: Mapping[str, Any]) -> dict[str, Any]:
        if column not in columns:
            raise PairError(f"{self._key}: image: no column {column!r}; columns: {listed(columns)}")
        url = picture_url(columns[column], self._below, f"column {column!r}")
        return {"type": "image_url", "image_url": {"url": url}}

    def _as_it_is(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The input as one message, with its options below. Raises PairError where it is not plain which it is."""
        others = {name: value for name, value in columns.items() if name != self._choices}
        pictures = [name for name, value in others.items() if isinstance(value, Path) and is_picture(value)]
        if pictures:
            return {"role": "user", "content": [self._picture(name, columns) for name in pictures]}
        texts = {value for value in others.values() if isinstance(value, str)}
        texts = texts or {text for value in others.values() if (text := text_of(value)) is not None}
        if len(texts) != 1:
            raise PairError(
                f"{self._key}: found no template; a sample has the columns {listed(columns)}; accepted: `prompt: "
                "{template: …}` over these"
            )
        text, options = texts.pop(), self._options(columns)
        return {"role": "user", "content": text if options is None else f"{text}\n{options}"}

    def _plain(self, messages: Messages) -> str:
        """Messages as one text. Raises PairError for pictures: who goes on with a text takes none."""
        texts = [message["content"] for message in messages]
        if not all(isinstance(text, str) for text in texts):
            raise PairError(f"{self._key}: a message of several parts; `api: completions` takes text alone")
        return GAP.join(texts)


def prompt_of(pair: Pair) -> Prompt:
    """The prompt of a pair that is asked over an endpoint."""
    from pytest_evalrun.llm.settings import endpoint_of

    spec, settings = endpoint_of(pair.settings).prompt, pair.settings
    return Prompt(spec, root=pair.root, settings=settings, data=pair.dataset.path)


def named_pictures(
    spec: Mapping[str, Any], settings: Settings, root: str, dataset: Dataset, hashes: Hashes
) -> dict[str, str]:
    """Digest the pictures that a table's rows name, as the part ``pictures``; nothing where no message shows any.

    Which they are is remembered until the table changes; those that are not there are missed by their samples.
    """
    columns, path = sorted(picture_columns(spec.get("messages", ()))), Path(dataset.path)
    if not columns or not path.is_file():
        return {}
    directory = _directories(root, dataset.path)[0]

    def read() -> dict[str, Any]:
        names: set[str] = set()
        for sample in create_reader(dataset, settings, root):
            values = map(columns_of(sample.input, settings.inputs).get, columns)
            names.update(value for value in values if isinstance(value, str) and not is_elsewhere(value))
        return {"names": sorted(names)}

    named = hashes.derived(path, f"pictures {columns} {settings.inputs} {settings.reader}", read)["names"]
    there = [name for name in named if os.path.isfile(directory / name)]  # noqa: PTH113 - whatever the name is
    return {"pictures": hashes.tree(directory, there)}


def _directories(root: str, data: str | None) -> tuple[Path, ...]:
    """Where the paths of pictures begin, and what they must not lead out of."""
    if data is None:
        return (Path(root),)
    path = Path(data)
    return (path if path.is_dir() else path.parent, Path(root))


def _compiled(value: Any, key: str) -> Any:
    """The same structure with templates in place of its texts."""
    if isinstance(value, str):
        return value if key.endswith(AS_THEY_ARE) else Template(value, key)
    if isinstance(value, dict):
        return {name: _compiled(entry, f"{key}.{name}") for name, entry in value.items()}
    if isinstance(value, list):
        return [_compiled(entry, f"{key}[{index}]") for index, entry in enumerate(value)]
    return value


def mistakes_in(prompt: Mapping[str, Any], settings: Settings) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with a pair's prompt: key, and what is found and accepted."""
    if "messages" in prompt and (other := next((key for key in ("template", "system") if key in prompt), None)):
        yield "prompt.messages", f"found next to {other}; accepted: one of them"
    for index, message in enumerate(prompt.get("messages", ())):
        if not (isinstance(message.get("role"), str) and "content" in message):
            yield f"prompt.messages[{index}]", f"{found(message)}; accepted: a mapping with `role` and `content`"
    if "fewshot" in prompt and "from" not in prompt["fewshot"]:
        yield "prompt.fewshot", "found no file; accepted: `from: FILE` with examples"
    known = _known_columns(prompt, settings)
    if known is not None and (options := prompt.get("choices", BARE)) not in {*settings.inputs, BARE}:
        yield "prompt.choices", f"no column {options!r} among `inputs`; {accepted(options, settings.inputs)}"
    for column in sorted(picture_columns(prompt.get("messages")) - known) if known is not None else ():
        yield "prompt.messages", f"image: no column {column!r} among `inputs`; {accepted(column, settings.inputs)}"
    for key, text in texts_in(dict(prompt), "prompt"):
        if not key.endswith((".choices", ".from")):
            yield from _mistakes_of(key, text, known)


def _mistakes_of(key: str, text: str, known: frozenset[str] | None) -> Iterator[tuple[str, str]]:
    if mistake := mistake_in(text):
        yield key, mistake
    elif known is not None and not key.endswith(".answer"):  # which has all columns of its file
        for name in sorted(names_in(text) - known):
            yield key, f"no column {name!r} among `inputs`; {accepted(name, known)}"


def _known_columns(prompt: Mapping[str, Any], settings: Settings) -> frozenset[str] | None:
    """The columns that templates have where the suite lists them for a table; None where the data will tell."""
    offer = registry.find(registry.READERS, settings.format)
    if not settings.inputs or settings.format == "files" or offer is None or not offer.is_ours:
        return None
    bare = {BARE} if len(settings.inputs) == 1 else set()
    return frozenset({*settings.inputs, *bare, ROW, *(("choices",) if "choices" in prompt else ())})
