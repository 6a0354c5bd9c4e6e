"""What models behind an endpoint add to evalrun.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pytest_evalrun.suite.fields import UNSET, AtOnce, Count, Name, NotNegative, Positive, Seconds, Spelled, Strict


def _certificates(value: Any) -> Any:
    if value is False or value is True:
        raise ValueError("a file of certificates to trust besides; TLS is verified in any case")
    return value


Command = Annotated[list[Spelled], Field(min_length=1)]
Certificates = Annotated[Name, BeforeValidator(_certificates)]


class FewshotModel(Strict):
    from_: Name = Field(default=UNSET, alias="from")
    """A JSONL, CSV or Parquet file with the same columns as the dataset, relative to the suite."""
    n: Positive = UNSET
    """So many examples are shown. Default: all of the file."""
    seed: Count = UNSET
    """Which of them, and in what order. Default: the first `n`, as they stand."""
    answer: Name = UNSET
    """The answer that is shown, a Jinja2 template over all columns of the file. Default: its reference."""


class PromptModel(Strict):
    system: Name = UNSET
    """The system message, a Jinja2 template over the sample's columns."""
    template: Name = UNSET
    """The user's message, a Jinja2 template over the sample's columns. Default: the input as it is."""
    messages: list[dict[str, Any]] = UNSET
    """All messages instead, each with `role` and `content`, whose texts are templates; of several parts
    `{image: COLUMN}` is a picture, whose file that column names.
    """
    fewshot: FewshotModel = UNSET
    """Examples that are shown before the question, with the same template."""
    choices: Name = UNSET
    """The column that holds the options of a question, lettered A, B, C …"""


class PriceModel(Strict):
    input: NotNegative = UNSET
    """For 1,000,000 tokens of the prompt."""
    output: NotNegative = UNSET
    """For 1,000,000 tokens of the answer."""
    cached: NotNegative = UNSET
    """For 1,000,000 tokens of the prompt that the endpoint had in its cache. Default: that of `input`."""
    currency: Name = UNSET
    """In which currency. Default: `USD`."""


class EndpointModel(Strict):
    model: Name = UNSET
    """The name by which the endpoint knows the model. Default: the entry's name."""
    base_url: Name = UNSET
    """Where the endpoint is, as in `http://127.0.0.1:8000/v1`."""
    api_key: Name | None = UNSET
    """Its key, as `${NAME}` of an environment variable; never the key itself."""
    api: Literal["chat", "completions"] = UNSET
    """Whether the model is sent messages (`chat`) or one text (`completions`)."""
    sampling: dict[str, Any] = UNSET
    """What is sent with each request: temperature, max_tokens, top_p, seed, stop …"""
    concurrency: AtOnce = UNSET
    """So many requests are under way at once, or `least-start-most`: as many as the endpoint takes.
    Default: `10-20-100`.
    """
    price: PriceModel = UNSET
    """What tokens cost; for `usage` in results and --eval-max-cost."""
    headers: dict[str, Spelled] = UNSET
    """Headers that are added to each request."""
    extra_body: dict[str, Any] = UNSET
    """Fields that are added to each request and are part of what the model is."""
    verify: Certificates = UNSET
    """A file of certificates to trust; TLS is verified in any case."""
    proxy: Name = UNSET
    """The proxy to pass. Default: what HTTPS_PROXY and the like say."""
    stream: bool = UNSET
    """Whether answers come piece by piece, so that the time to the first token is known."""
    request_timeout: Seconds = UNSET
    """Seconds after which a request is given up and asked again. Default: 600."""
    served_as: Name = UNSET
    """A name that stands for the endpoint in what predictions depend on, so that it may move."""
    serve: Annotated[str | Command, Field(union_mode="left_to_right")] | None = UNSET
    """The program that serves the model, with {model}, {port}, {gpus}; started for as long as it is asked. {python} is
    the interpreter of pytest.
    """
    ready: Name = UNSET
    """The path that answers once it can be asked. Default: `/v1/models`."""
    ready_timeout: Seconds = UNSET
    """Seconds that it may take until then. Default: 600."""
    prompt: PromptModel = UNSET
    """What is sent of a sample. Default: its input, as one message."""
