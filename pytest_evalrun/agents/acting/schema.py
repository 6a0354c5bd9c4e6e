"""What agents behind an HTTP API of their own add to evalrun.yaml."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from pytest_evalrun.llm.schema import Certificates, PriceModel  # noqa: TC001 - pydantic reads them
from pytest_evalrun.suite.fields import ONE, UNSET, AtOnce, Name, Seconds, Spelled, Strict

NAME = "name"


class PrompterModel(Strict):
    name: Name
    """Which: role_content_dict, batched_role_content_dict, prompt_string, claude, palm, or `./file.py:name`."""
    args: dict[str, Any] | None = UNSET
    """Its arguments, as AgentBench has them: `message_key`, `agent_role`, `prefix` …"""


def _kind_of_prompter(value: Any) -> str | None:
    """So that what is wrong in one form is not told of the other, too."""
    return ONE if isinstance(value, dict | PrompterModel) else NAME if isinstance(value, str) else None


Prompter = Annotated[
    Annotated[PrompterModel, Tag(ONE)] | Annotated[Name, Tag(NAME)],
    Discriminator(
        _kind_of_prompter,
        custom_error_type="prompter",
        custom_error_message="a name, or a mapping with name and args",
    ),
]


class HttpModel(Strict):
    url: Name
    """Where the agent is asked, by POST with JSON; a `?key=${NAME}` in it is read from the environment."""
    headers: dict[str, Spelled] = UNSET
    """Headers of each request; keys as `${NAME}` of an environment variable, never themselves."""
    body: dict[str, Any] = UNSET
    """Fields of each request besides the conversation, and part of what the agent is."""
    prompter: Prompter | None = UNSET
    """How the conversation is put into the request, by its name. Default: `role_content_dict`."""
    return_format: Name = UNSET
    """The text of an answer, as in `{response[choices][0][message][content]}`. Default: `{response}`."""
    concurrency: AtOnce = UNSET
    """So many requests are under way at once, or `least-start-most`: as many as the endpoint takes.
    Default: `10-20-100`.
    """
    request_timeout: Seconds = UNSET
    """Seconds after which a request is given up and asked again. Default: 600."""
    proxy: Name = UNSET
    """The proxy to pass. Default: what HTTPS_PROXY and the like say."""
    proxies: dict[str, Spelled] = UNSET
    """Proxies by the scheme of the URL instead, as AgentBench has them: `http`, `https` or `all`."""
    verify: Certificates = UNSET
    """A file of certificates to trust; TLS is verified in any case."""
    price: PriceModel = UNSET
    """What tokens cost, where the answer has a `usage` that counts them."""
    served_as: Name = UNSET
    """A name that stands for the URL in what predictions depend on, so that it may move."""
