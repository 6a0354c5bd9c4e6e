"""What is sent of a sample, for people: asked of the suite as it is today, and of nobody else."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.suite.pairs import Pair

# So many ids are looked at for whoever mistyped one.
MOST_IDS = 10_000
# What a request says in many lines.
_LONG = ("messages", "prompt")
_PICTURE = "data:"


def sent_lines(pair: str, sample_id: str, places: Sequence[Path] | None, workdir: Path) -> Iterator[str]:
    """Give the request of a sample in lines, secrets blanked: where to, its fields, then its messages or its text.

    Raises ConfigError for a pair that is sent no prompt, and for a sample that it has not.
    """
    from pytest_evalrun.report.listing import suites_at
    from pytest_evalrun.report.lookup import find_pair
    from pytest_evalrun.suite.secrets import secrets_of

    suites = list(suites_at(places, workdir))
    found = find_pair(pair, (one for suite in suites for one in suite.pairs))
    secrets = secrets_of(suites)
    for line in _lines(found, sample_id):
        yield secrets.blank(line)


def _lines(pair: Pair, sample_id: str) -> Iterator[str]:
    from pytest_evalrun.llm.prompts import prompt_of
    from pytest_evalrun.llm.settings import EndpointSettings
    from pytest_evalrun.llm.wire import request_body
    from pytest_evalrun.predicting.endpoints import named

    own = pair.settings.own
    if pair.settings.is_agent:
        raise ConfigError(
            f"{pair.full_id}: its task says turn by turn what an agent is sent; accepted: pairs of other data; what "
            "was said is the history in its predictions, and in runs.jsonl"
        )
    if not isinstance(own, EndpointSettings):
        raise ConfigError(f"{pair.full_id}: its adapter {pair.settings.adapter} is sent no prompt; accepted: openai")
    own, prompt, sample = named(own, pair), prompt_of(pair), _sample(pair, sample_id)
    body = request_body(own, prompt.messages(sample) if own.api == "chat" else prompt.text(sample))
    where = own.base_url or "the program that `serve` starts"
    yield f"to: {where} ({own.api})"
    for name, value in body.items():
        if name not in _LONG:
            yield f"{name}: {_word(value)}"
    for message in body.get("messages", ()):
        yield from _block(message["role"], _text_of(message))
    if "prompt" in body:
        yield from _block("prompt", body["prompt"])


def _sample(pair: Pair, sample_id: str) -> Sample:
    from pytest_evalrun.datasets import create_reader

    ids: list[str] = []
    count = 0
    for sample in create_reader(pair.dataset, pair.settings, pair.root):
        if sample.id == sample_id:
            return sample
        count += 1
        if count <= MOST_IDS:
            ids.append(sample.id)
    near = difflib.get_close_matches(sample_id, ids, n=3) or ids[:3]
    raise ConfigError(
        f"{pair.full_id}: no sample {sample_id!r} among {counted(count, 'sample')}; there are {', '.join(near)}, …"
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _block(name: str, text: str) -> Iterator[str]:
    yield ""
    yield f"[{name}]"
    yield from text.split("\n")


def _text_of(message: dict[str, Any]) -> str:
    """The text of a message, and whatever else it holds; pictures by kind and size."""
    content, others = message["content"], {key: message[key] for key in message.keys() - {"role", "content"}}
    parts = [content] if isinstance(content, str) else [_part(part) for part in content]
    return "\n".join([*parts, *(f"{key}: {_word(others[key])}" for key in sorted(others))])


def _part(part: Any) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    url = part.get("image_url", {}).get("url", "") if isinstance(part, dict) else ""
    if not url.startswith(_PICTURE):
        return _word(part)
    kind, _, data = url.removeprefix(_PICTURE).partition(";base64,")
    return f"<{kind}, {len(data) * 3 // 4 - data[-2:].count('=')} bytes>"
