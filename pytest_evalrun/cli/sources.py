"""What suites, as they are today, say of the samples of a run: inputs, what was sent, where files of models lie."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.report.export.chosen import SentSample, Sources
from pytest_evalrun.report.inputs import inputs_of
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.suites import pairs_in
from pytest_evalrun.suite.secrets import Secrets, secret_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.report.export.chosen import SourcesOf
    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.suite.pairs import Pair

# A larger picture stays a name: a log of Inspect's is read whole by its viewer.
MOST_BYTES = 2_000_000


def sources_in(paths: RunPaths, *, images: bool = False) -> SourcesOf:
    """Make what gives the sources of a pair by its names; ``images``: pictures as URLs that hold them."""
    named = pairs_in(paths)

    def sources(known: KnownPair) -> Sources:
        try:
            pair = named(known.suite, known.task, known.dataset)
        except (EvalrunError, OSError):  # a suite that is wrong today knows nothing of the run
            pair = None
        if pair is None:
            return Sources(problem="no suite has this pair today")
        files = paths.pair(known.key)
        embed = _embed(pair, files) if images else _nothing
        # What an agent was asked is its conversation: nobody asks a task's server for it.
        inputs = Inputs() if pair.settings.is_agent else inputs_of(pair)
        return Sources(inputs, _sent(pair, files, images=images), embed, _secrets(pair))

    return sources


def _nothing(_: str) -> None:
    return None


def _secrets(pair: Pair) -> Secrets:
    import os

    names = secret_names([dict(layer.values) for layer in pair.layers])
    return Secrets(tuple(os.environ[name] for name in sorted(names) if name in os.environ))


def _embed(pair: Pair, files: PairPaths) -> Callable[[str], str | None]:
    from pytest_evalrun.predicting.outputs import output_directory

    written = output_directory(pair, files)
    return lambda name: picture(written / name)


def picture(path: Path) -> str | None:
    """The URL that holds a picture; None for what is none, is not there, or is too large."""
    from pytest_evalrun.datasets.media import data_url, picture_kind

    try:
        with open_file(path) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError:
        return None
    return data_url(content) if len(content) <= MOST_BYTES and picture_kind(content) else None


def _sent(pair: Pair, files: PairPaths, *, images: bool) -> Callable[[], Iterator[SentSample]] | None:
    """What is sent of each sample of an endpoint's pair; of others, the pictures where they are wanted."""
    from pytest_evalrun.llm.settings import EndpointSettings

    if pair.settings.is_agent:
        return None
    if isinstance(pair.settings.own, EndpointSettings):
        return partial(_requests, pair, files)
    return partial(_pictures, pair) if images else None


def _requests(pair: Pair, files: PairPaths) -> Iterator[SentSample]:
    from pytest_evalrun.llm.prompts import prompt_of
    from pytest_evalrun.llm.settings import endpoint_of
    from pytest_evalrun.llm.wire import digest_of, request_body
    from pytest_evalrun.predicting.endpoints import files_of, named

    own, prompt = named(endpoint_of(pair.settings), pair), prompt_of(pair)
    model_files = files_of(files.fingerprint)

    def digest(content: Any, generation: int) -> str:
        return digest_of(own, request_body(own, content, generation), generation, model_files)

    for sample in _samples(pair):
        try:
            content = prompt.messages(sample) if own.api == "chat" else prompt.text(sample)
        except Exception:  # noqa: BLE001 - a template may fail in any way, and it costs its sample only
            yield SentSample(sample.id, None)
        else:
            yield SentSample(sample.id, content, partial(digest, content))


def _pictures(pair: Pair) -> Iterator[SentSample]:
    for sample in _samples(pair):
        parts = sample.input if isinstance(sample.input, dict) else {"": sample.input}
        shown = {name: picture(value) for name, value in parts.items() if isinstance(value, Path)}
        content: list[dict[str, Any]] = []
        for name, value in parts.items():
            text = f"{name}: {value}" if name else str(value)
            content.append({"type": "text", "text": text})
            if url := shown.get(name):
                content.append({"type": "image_url", "image_url": {"url": url}})
        yield SentSample(sample.id, [{"role": "user", "content": content}] if any(shown.values()) else None)


def _samples(pair: Pair) -> Iterator[Sample]:
    from pytest_evalrun.datasets import create_reader

    return iter(create_reader(pair.dataset, pair.settings, pair.root))
