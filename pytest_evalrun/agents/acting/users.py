"""A class of the user's own as an agent: AgentBench's ``inference(history)``, or ``act(messages, tools)``."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.eventloop import give_back_thread, take_thread
from pytest_evalrun.adapters.making import check_arguments, done, guarded, public
from pytest_evalrun.adapters.predictone import CONCURRENCY, CONCURRENCY_OF_ASYNC
from pytest_evalrun.adapters.retrying import AskAgain, retry_of, status_of
from pytest_evalrun.adapters.threads import DaemonThreads
from pytest_evalrun.agents.acting.unseen import UnseenTools
from pytest_evalrun.agents.protocol import Act, ContextLimit
from pytest_evalrun.agents.wire.histories import history_of
from pytest_evalrun.children.faults import may_pass
from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.llm.refusals import NO_ROOM, Passing, tells_too_long
from pytest_evalrun.suite.forks import UsersCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.adapters.eventloop import LoopThread
    from pytest_evalrun.agents.protocol import Conversation, Message

METHODS = "a class with inference(history), or act(messages, tools)"
# By their names alone: whoever has AgentBench's own exceptions has them in a module of his.
CONTEXT_LIMITS = frozenset({"AgentContextLimitException", "ContextLimit"})
PASSING = ("AgentNetworkException", "AgentTimeoutException")
TOO_MANY = 429
LARGEST_ANSWER = 10_000_000
ACCEPTED = "accepted: text, or {role: assistant, content: …, tool_calls: […]}"


class UsersAgent:
    """``Name(path, **params)`` where there is a model file, else ``Name(**params)``.

    ``load`` and ``close`` are called where the class has them. Coroutines are awaited in the asyncio thread, where
    :meth:`act` must be, too; a plain method is called in threads. ``concurrency`` is known once it is loaded.
    """

    budget = None

    def __init__(
        self,
        ref: str,
        root: str,
        path: str | None,
        params: Mapping[str, Any],
        *,
        concurrency: int | None = None,
        retry_on: Sequence[str] = (),
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.ref = ref
        self.concurrency = concurrency or CONCURRENCY
        self._root = root
        self._path = path
        self._params = params
        self._chosen = concurrency
        self._retry_on = (*PASSING, *retry_on)
        self._tools = UnseenTools(ref, say)
        self._model: Any = None
        self._ask: Callable[[Conversation], Any] | None = None
        self._sees_tools = False
        self._threads: DaemonThreads[Any] | None = None
        # What a coroutine opened is of the event loop, which must live for as long.
        self._thread: LoopThread | None = None

    def load(self) -> None:
        """Import, construct and load. Raises PairError with the user's own traceback as its cause."""
        from pytest_evalrun.suite.objects import load_object

        found = load_object(self.ref, self._root)
        if not inspect.isclass(found):
            raise PairError(f"{self.ref} is a {type(found).__name__}, and no agent; accepted: {METHODS}")
        if not any(callable(getattr(found, name, None)) for name in ("act", "inference")):
            raise PairError(f"{self.ref} has no method act or inference; it has: {public(found)}; accepted: {METHODS}")
        arguments = {"path": Path(self._path)} if self._path else {}
        check_arguments(self.ref, found, [*arguments], self._params)
        self._model = guarded(self.ref, "could not be made", partial(found, *arguments.values(), **self._params))
        self._thread = take_thread()
        try:
            if callable(load := getattr(self._model, "load", None)):
                guarded(self.ref, "could not be loaded", partial(done, load))
            self._choose()
        except BaseException:
            self._give_back()
            raise

    def _choose(self) -> None:
        """Find out how it is asked, and how often at once."""
        act = getattr(self._model, "act", None)
        method = act if callable(act) else self._model.inference
        if inspect.iscoroutinefunction(method):
            self.concurrency = self._chosen or CONCURRENCY_OF_ASYNC
        else:
            self._threads = DaemonThreads()
        self._sees_tools = callable(act) and _fits(method, 2)
        if not callable(act):
            self._ask = lambda conversation: method(history_of(conversation.messages))
        elif self._sees_tools:
            self._ask = lambda conversation: method(_copied(conversation.messages), _copied(conversation.tools))
        elif _fits(method, 1):
            self._ask = lambda conversation: method(_copied(conversation.messages))
        else:
            raise PairError(f"{self.ref}.act{inspect.signature(method)} does not fit; accepted: act(messages, tools)")

    async def act(self, conversation: Conversation) -> Act:
        """Ask for the next message. Raises as :class:`pytest_evalrun.agents.protocol.Agent` says; an error of the
        class's own that says nothing of itself is raised as it is.
        """
        import asyncio

        assert self._ask is not None, "load comes first"
        if not self._sees_tools:
            self._tools.note(conversation.tools)
        try:
            if self._threads is None:
                with UsersCode():
                    answer = await self._ask(conversation)
            else:
                answer = await asyncio.wrap_future(self._threads.start(partial(self._called, conversation)))
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            if (judged := self._judged(error)) is error:
                raise
            raise judged from error
        return act_of(answer, self.ref)

    def close(self) -> None:
        model, self._model, self._ask = self._model, None, None
        try:
            if callable(close := getattr(model, "close", None)):
                done(close)
        finally:
            self._give_back()

    def _called(self, conversation: Conversation) -> Any:
        """In a thread of its own."""
        assert self._ask is not None, "load comes first"
        with UsersCode():
            answer = self._ask(conversation)
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()  # or Python warns of it, somewhere and some time
            raise PairError(f"{self.ref} answered something to be awaited; accepted: async def, or a value")
        return answer

    def _give_back(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.cancel()
        thread, self._thread = self._thread, None
        if thread is not None:
            give_back_thread(thread)

    def _judged(self, error: BaseException) -> BaseException:
        """Say what an error means to the sample: by its class's name, its code, its status."""
        text = f"{self.ref}: {type(error).__name__}: {error}"
        if isinstance(error, EvalrunError | ContextLimit):
            return error
        if _is_context_limit(error):
            return ContextLimit(text)
        status, retry = status_of(error), retry_of(error, self._retry_on)
        passes = isinstance(error, Exception) and may_pass(error)
        if retry is None and passes and status is None:
            retry = AskAgain(None, counts=True)
        if retry is not None:
            status = TOO_MANY if status is None and not retry.counts else status
            return Passing(text, status, retry.after, limited=not retry.counts)
        # A refusal that is an OSError all the same, as those of requests are; and SystemExit, which is for nobody here.
        return SampleError(text) if passes or not isinstance(error, Exception) else error


def _is_context_limit(error: BaseException) -> bool:
    """By the name of its class, or by what the endpoint said: SDKs keep its body, or the error in it, as ``body``."""
    if CONTEXT_LIMITS.intersection(cls.__name__ for cls in type(error).__mro__):
        return True
    told = getattr(error, "body", None)
    told = told if isinstance(told, dict) else {"code": getattr(error, "code", None)}
    return status_of(error) not in NO_ROOM and tells_too_long(told)


def _fits(method: Callable[..., Any], arguments: int) -> bool:
    try:
        inspect.signature(method).bind(*range(arguments))
    except TypeError:
        return False
    return True


def _copied(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lists and dicts of its own: what a class does with them is its business."""
    return [dict(value) for value in values]


def act_of(answer: Any, who: str) -> Act:
    """Raises SampleError, beginning with ``who``, for nothing, for too much, and for what is no message."""
    if isinstance(answer, Act):
        return replace(answer, message=message_of(answer.message, who))
    return Act(message_of(answer, who))


def message_of(answer: Any, who: str) -> Message:
    """The assistant's message: of a text, a mapping, or what the SDK has for one; nothing else in it is kept."""
    if answer is None:
        raise SampleError(f"{who} answered nothing; {ACCEPTED}")
    if isinstance(answer, str):
        if len(answer) > LARGEST_ANSWER:
            raise _too_large(who)
        return {"role": "assistant", "content": answer}
    if callable(dump := getattr(answer, "model_dump", None)):
        answer = dump(exclude_none=True)
    if not isinstance(answer, dict):
        raise SampleError(f"{who} answered {type(answer).__name__}; {ACCEPTED}")
    return _checked(answer, who)


def _checked(answer: dict[str, Any], who: str) -> Message:
    role, content, calls = (answer.get(name) for name in ("role", "content", "tool_calls"))
    if role not in (None, "assistant"):
        raise SampleError(f"{who} answered a message of the role {role!r}; accepted: assistant")
    if content is None and not calls:
        raise SampleError(f"{who} answered a message without content and tool_calls; {ACCEPTED}")
    if not isinstance(content, str | list | None):
        raise SampleError(f"{who} answered content of type {type(content).__name__}; accepted: text")
    message: Message = {"role": "assistant", "content": content}
    if calls:
        if not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
            raise SampleError(f"{who} answered tool_calls that are no list of mappings; accepted: OpenAI's form")
        message["tool_calls"] = calls
    try:
        size = len(json.dumps(message, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SampleError(f"{who} answered a message that JSON cannot hold: {error}") from None
    if size > LARGEST_ANSWER:
        raise _too_large(who)
    return message


def _too_large(who: str) -> SampleError:
    return SampleError(f"{who} answered more than {LARGEST_ANSWER // 1_000_000} MB; nothing of it is kept")
