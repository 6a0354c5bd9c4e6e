"""Models behind an endpoint: asked over HTTP, with as many requests under way as there is room for."""

from __future__ import annotations

import random
import time
from concurrent.futures import CancelledError, Future, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.budget import Budget
from pytest_evalrun.llm.client import Client
from pytest_evalrun.llm.limiter import Concurrency
from pytest_evalrun.llm.prompts import prompt_of
from pytest_evalrun.llm.refusals import Passing
from pytest_evalrun.llm.settings import EndpointSettings, endpoint_of
from pytest_evalrun.llm.transport import CLOSE_SECONDS
from pytest_evalrun.llm.wire import Reply, digest_of, request_body
from pytest_evalrun.predicting.patience import Patience
from pytest_evalrun.predicting.session import Again, Answers
from pytest_evalrun.rundir.markers import read_fingerprint
from pytest_evalrun.suite.secrets import expand
from pytest_evalrun.suite.waiting import backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.children.faults import ModelDied
    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.services import WorkerServices
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.suite.pairs import Pair

# Before a request is made again of which the endpoint does not say when: longer from try to try, and never all at once.
BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0
# So often somebody is looked for who has never answered.
FIRST_TRIES = 3
# Parts of a fingerprint: the content of the model's file or directory, and of the files of the program that serves it.
OF_FILES = ("model", "program")
# From its last answer a program that ends may live on for so long; what it does not answer then is no sample's fault.
DYING_SECONDS = 5.0


class Prompts(Protocol):
    """What is sent of a sample (:class:`pytest_evalrun.llm.prompts.Prompt`)."""

    def messages(self, sample: Sample) -> list[dict[str, Any]]: ...

    def text(self, sample: Sample) -> str: ...


@runtime_checkable
class Asked(Protocol):
    """A model that was loaded and is asked by requests. ``serves`` is the name by which it knows its only model.

    ``died`` tells of a program of ours, from any thread, how it ended where it did so by itself.
    """

    client: Client
    budget: Budget

    @property
    def serves(self) -> str | None: ...

    @property
    def died(self) -> Callable[[], ModelDied | None] | None:
        """Of a program of ours, from any thread: how it ended, where it did so by itself. None for others' endpoints,
        whose life their answers tell.
        """


class Endpoint:
    """A model that somebody else runs: loading it takes its key from the environment, and nothing else."""

    # Its requests are cancelled where whoever waits for them is interrupted; it can be asked again.
    can_be_interrupted = True
    serves = None
    died = None

    def __init__(self, pair: Pair, services: WorkerServices) -> None:
        self._pair = pair
        self._services = services
        self.client: Client
        self.budget: Budget

    def load(self) -> None:
        """Raises ConfigError where a variable is not set, PairError where `verify` cannot be read."""
        own = named(endpoint_of(self._pair.settings), self._pair)
        self.client, self.budget = connect(own, self._pair.root, self._services.event)

    def close(self) -> None:
        """The connections, and what it had of the endpoint's budget."""
        self.budget.close()
        self.client.close()


def named(own: EndpointSettings, pair: Pair, serves: str | None = None) -> EndpointSettings:
    """The settings with the name by which the endpoint knows the model."""
    return own if own.model else replace(own, model=serves or pair.task.model)


def connect(own: EndpointSettings, root: str, event: Callable[..., object]) -> tuple[Client, Budget]:
    """Make the client of an endpoint and its share of the budget, with every ``${NAME}`` read from the environment.

    ``event`` is told of each change of the limit.
    """
    key, url, proxy = expand([own.api_key, own.base_url, own.proxy])
    opened = replace(own, headers=expand(dict(own.headers)), proxy=proxy)
    client = Client(opened, url, key, root)
    return client, Budget(url, key, Concurrency.parse(own.concurrency), event=event)


def open_endpoint(work: PairWork, model: Asked) -> EndpointSession:
    """Ask a loaded model for a pair. Raises ConfigError for a prompt that is none."""
    own = named(endpoint_of(work.settings), work.pair, model.serves)
    files = files_of(work.paths.fingerprint)
    return EndpointSession(model.client, own, prompt_of(work.pair), model.budget, files=files, died=model.died)


def files_of(fingerprint: Path) -> dict[str, Any]:
    """What of the model's own files and of those of its program the predictions depend on, where it has any."""
    kept = read_fingerprint(fingerprint)
    return {} if kept is None else {name: kept.parts[name] for name in OF_FILES if kept.parts.get(name)}


class EndpointSession:
    """Requests for one pair, one a sample, each kept as it is answered."""

    batch_size = 1

    def __init__(
        self,
        client: Client,
        endpoint: EndpointSettings,
        prompt: Prompts,
        budget: Budget,
        *,
        files: Mapping[str, Any] | None = None,
        died: Callable[[], ModelDied | None] | None = None,
    ) -> None:
        """``files`` are those of :func:`digest_of`; ``died`` tells how a program of ours ended, where it did."""
        self._client = client
        self._endpoint = endpoint
        self._prompt = prompt
        self._budget = budget
        self._files = files
        self._died = died
        # Since when a program of ours has not answered at all: it may be about to end.
        self._unheard: float | None = None
        self._under_way: dict[Future[Reply], Future[Answers | Again]] = {}
        # Of samples that are to be asked again: how often they were, and how often nobody said when to come back.
        self._tries: dict[tuple[int, int], tuple[int, int]] = {}
        self._patience = Patience()
        self._has_answered = False

    @property
    def in_flight(self) -> int:
        return self._budget.room(len(self._under_way))

    def submit(self, batch: Sequence[Sample]) -> Future[Answers | Again]:
        """Ask for one sample; what is wrong with its prompt is the future's error."""
        (sample,) = batch
        answer: Future[Answers | Again] = Future()
        if self._died is not None and (death := self._died()) is not None:
            answer.set_exception(death)
            return answer
        try:
            body = self.body(sample)
            digest = self._digest(body, sample)
        except Exception as error:  # noqa: BLE001 - a template may fail in any way, and it costs its sample only
            answer.set_exception(error)
            return answer
        who = sample.index, sample.generation
        tries, untold = self._tries.pop(who, (0, 0))
        self._patience.asked(who)
        asked = self._client.ask(body, tries + 1)
        self._under_way[asked] = answer

        def take(asked: Future[Reply]) -> None:
            del self._under_way[asked]
            try:
                answer.set_result(self._answered(asked.result(), digest, who))
            except Passing as error:
                self._tries[who] = tries + 1, untold + (error.after is None)
                if (end := self._death(error) or self._absence(error, tries + 1)) is not None:
                    answer.set_exception(end)
                else:
                    answer.set_result(self._again(error, untold, who))
            except CancelledError:
                answer.cancel()
            except Exception as error:  # noqa: BLE001 - it is the loop's to judge
                self._patience.ended(who)
                self._budget.succeeded(first_try=False)
                answer.set_exception(error)

        asked.add_done_callback(take)
        return answer

    def body(self, sample: Sample) -> dict[str, Any]:
        """Make what is sent of a sample."""
        content = self._prompt.messages(sample) if self._endpoint.api == "chat" else self._prompt.text(sample)
        return request_body(self._endpoint, content, sample.generation)

    def digest(self, sample: Sample) -> str:
        """The digest of what is sent of a sample, which nobody is asked for this."""
        return self._digest(self.body(sample), sample)

    def _digest(self, body: Mapping[str, Any], sample: Sample) -> str:
        return digest_of(self._endpoint, body, sample.generation, self._files)

    def _answered(self, reply: Reply, digest: str, who: tuple[int, int]) -> Answers:
        self._budget.succeeded(reply.attempts == 1)
        self._patience.answered(who)
        self._unheard, self._has_answered = None, True
        detail = reply.detail(self._endpoint.price) | {"digest": digest}
        return Answers([Detailed(reply.text, detail)], reply.seconds)

    def _again(self, error: Passing, untold: int, who: tuple[int, int]) -> Again:
        """When the endpoint says so, or later each time that it does not, and never many at the same moment."""
        if error.limited:
            self._budget.limited(error.after)
        else:
            self._budget.troubled()
        pause = error.after
        if pause is None:
            pause = backoff(untold, BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
        counts = (error.counts or (error.nobody and not self._has_answered)) and not self._may_be_dying(error)
        return Again(pause, str(error), counts=counts, failing=self._patience.refused(who, error.after))

    def _death(self, error: Passing) -> ModelDied | None:
        """What ends the pair where a request was not answered because nobody is there any more."""
        return self._died() if self._died is not None and error.status is None else None

    def _absence(self, error: Passing, tries: int) -> PairError | None:
        """What ends the pair where nobody was there from the first; a server that is started anew is waited for."""
        if not error.nobody or self._has_answered or self._died is not None or tries < FIRST_TRIES:
            return None
        return PairError(f"{error}; is it running? accepted: a `base_url` where somebody answers")

    def _may_be_dying(self, error: Passing) -> bool:
        """Tell whether a program of ours has stopped to answer just now: its end takes it a moment."""
        if self._died is None or error.status is not None:
            return False
        now = time.monotonic()
        self._unheard = now if self._unheard is None else self._unheard
        return now - self._unheard < DYING_SECONDS

    def close(self, *, at_once: bool = False) -> None:
        """What is under way has been paid for: it is waited for a moment, unless nobody would look at it."""
        if not at_once:
            wait(list(self._under_way.values()), CLOSE_SECONDS)
        for asked in list(self._under_way):
            asked.cancel()
        self._budget.close()
