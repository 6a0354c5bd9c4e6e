"""How a conversation is put into the body of a request: AgentBench's prompters by their names, and the user's own.

A prompter takes a history, turns of ``user`` and ``agent``, and gives fields of the body.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pytest_evalrun.agents.acting.formats import ValueFormat
from pytest_evalrun.errors import ConfigError, PairError, SampleError
from pytest_evalrun.suite.forks import UsersCode
from pytest_evalrun.suite.problems import accepted
from pytest_evalrun.suite.settings import REFERENCES, is_reference

Turns = Sequence[Mapping[str, Any]]
Prompter = Callable[[Turns], dict[str, Any]]


def role_content_dict(
    message_key: str = "messages",
    role_key: str = "role",
    content_key: str = "content",
    user_role: str = "user",
    agent_role: str = "agent",
) -> Prompter:
    """A list of messages under one key, each with its role and its content."""
    roles = {"user": user_role, "agent": agent_role}

    def prompt(history: Turns) -> dict[str, Any]:
        return {message_key: [{role_key: roles[turn["role"]], content_key: turn["content"]} for turn in history]}

    return prompt


def batched_role_content_dict(**args: Any) -> Prompter:
    """The same as a batch of one conversation."""
    prompt_one = role_content_dict(**args)
    return lambda history: {key: [value] for key, value in prompt_one(history).items()}


def prompt_string(
    prefix: str = "",
    suffix: str = "AGENT:",
    user_format: str = "USER: {content}\n\n",
    agent_format: str = "AGENT: {content}\n\n",
    prompt_key: str = "prompt",
) -> Prompter:
    """One text that the model goes on with."""
    formats = {
        "user": ValueFormat(user_format, "content", "prompter.args.user_format"),
        "agent": ValueFormat(agent_format, "content", "prompter.args.agent_format"),
    }

    def prompt(history: Turns) -> dict[str, Any]:
        turns = (formats[turn["role"]].fill(turn["content"]) for turn in history)
        return {prompt_key: f"{prefix}{''.join(turns)}{suffix}"}

    return prompt


def claude() -> Prompter:
    """One text, in the words of Anthropic's completions."""
    return prompt_string("", "Assistant:", "Human: {content}\n\n", "Assistant: {content}\n\n")


def palm() -> Prompter:
    """One instance, in the words of Vertex AI's chat."""
    prompt_one = role_content_dict("messages", "author", "content", "user", "bot")
    return lambda history: {"instances": [prompt_one(history)]}


PROMPTERS: Mapping[str, Callable[..., Prompter]] = {
    make.__name__: make for make in (role_content_dict, batched_role_content_dict, prompt_string, claude, palm)
}
DEFAULT = role_content_dict.__name__
# Whose arguments those of a batch are.
_ARGUMENTS = {batched_role_content_dict.__name__: role_content_dict}


def named_prompter(spec: Mapping[str, Any] | str | None) -> tuple[str, dict[str, Any]]:
    """The name of the prompter that a suite asks for, and its arguments."""
    if not spec:
        return DEFAULT, {}
    if isinstance(spec, str):
        return spec, {}
    return spec["name"], dict(spec.get("args") or {})


def mistake_in_prompter(spec: Mapping[str, Any] | str | None) -> tuple[str, str] | None:
    """Tell what is wrong with what a suite says of a prompter of ours: key, and what is found and accepted."""
    name, args = named_prompter(spec)
    if is_reference(name):
        return None
    if name not in PROMPTERS:
        return "prompter", f"found the unknown name {name!r}; {accepted(name, [*PROMPTERS])}, {REFERENCES[0]}"
    signature = inspect.signature(_ARGUMENTS.get(name, PROMPTERS[name]))
    for arg in args:
        if arg not in signature.parameters:
            known = accepted(arg, [*signature.parameters]) if signature.parameters else "accepted: none"
            return f"prompter.args.{arg}", f"{name} has no such argument; {known}"
        if not isinstance(args[arg], str):
            return f"prompter.args.{arg}", f"found {args[arg]!r:.80}; accepted: text"
    try:
        PROMPTERS[name](**args)
    except ConfigError as error:
        key, _, text = str(error).partition(": ")
        return key, text
    return None


def prompter_of(spec: Mapping[str, Any] | str | None, root: str) -> Prompter:
    """The prompter that a suite asks for. Raises ConfigError where there is none such, PairError for arguments.

    One of the user's own is made by calling it with its arguments, as AgentBench's are, or takes the history besides.
    """
    name, args = named_prompter(spec)
    if not is_reference(name):
        return PROMPTERS[name](**args)
    from pytest_evalrun.adapters.making import guarded
    from pytest_evalrun.suite.objects import load_object

    found = load_object(name, root)
    if not callable(found):
        raise PairError(f"{name} is a {type(found).__name__}; accepted: a function")
    if _fits(found, **args):
        made = guarded(name, "could not be made", partial(found, **args))
        if not callable(made):
            raise PairError(f"{name} gave a {type(made).__name__}; accepted: a function that takes the history")
        return partial(_of_the_user, made, name)
    if _fits(found, [], **args):
        return partial(_of_the_user, partial(found, **args), name)
    raise PairError(f"{name}{inspect.signature(found)} does not fit its args ({', '.join(args) or 'none'})")


def _fits(found: Callable[..., Any], *given: Any, **args: Any) -> bool:
    try:
        inspect.signature(found).bind(*given, **args)
    except TypeError:
        return False
    return True


def _of_the_user(prompt: Callable[..., Any], name: str, history: Turns) -> dict[str, Any]:
    """Ask the user's own. Raises SampleError for what it raises, and for what is no part of a body."""
    try:
        with UsersCode():
            fields = prompt([dict(turn) for turn in history])
    except Exception as error:
        raise SampleError(f"prompter {name}: {type(error).__name__}: {error}") from error
    if not isinstance(fields, dict):
        raise SampleError(f"prompter {name} gave {type(fields).__name__}; accepted: a dict of fields of the body")
    return fields
