"""What a controller asks of workers, of AgentBench's, AgentRL's and ours, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.protocol import Standing
from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.dialects import (
    Dialect,
    dialect_of,
    interact_body,
    is_index,
    standing_of,
    standing_of_error,
    start_body,
)
from pytest_evalrun.agents.wire.exchange import Exchange, HttpAnswer, Oversized, Silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.agents.protocol import Index, Message
    from pytest_evalrun.agents.wire.dialects import Interaction

# A history of many turns, with images.
LARGEST_ANSWER = 64_000_000
_LARGEST_STATUS = 16_000_000
# Sessions that others gave their numbers are followed by ours: these must not run out.
_LARGEST_HELD = 2**53
# AgentBench's workers wait up to 30 s for a task that is to end.
CANCEL_SECONDS = 35.0
STATUS_SECONDS = 10.0


class WorkerSilent(NotGranted):
    """A worker did not answer: it is not to be given samples until it is heard of again."""

    def __init__(self, text: str) -> None:
        super().__init__(400, f"Error: Worker not responding\n{text}")


@dataclass
class WorkerCalls:
    """Asks workers, each in its dialect, which is seen in what it answers to the first sample.

    Calls raise WorkerSilent where nobody answers within ``timeout`` seconds, and NotGranted as AgentBench's controller
    passes on what a worker refuses, or answers that is none.
    """

    timeout: float = 240.0
    _exchange: Exchange = field(default_factory=Exchange)
    _dialects: dict[str, Dialect] = field(default_factory=dict)

    async def start_sample(
        self, address: str, session_id: int, index: Index, custom_task: Mapping[str, Any] | None = None
    ) -> Standing:
        """Begin a sample at a worker, under a number that no other session ever had."""
        payload = _payload(await self._post(address, "start_sample", start_body(session_id, index, custom_task)))
        standing = standing_of(payload, session_id)
        self._dialects[address] = dialect_of(payload)
        return standing

    async def interact(self, address: str, asked: Interaction, before: Sequence[Message] = ()) -> Standing:
        """Hand an agent's answer to a worker; ``before`` is the conversation so far, that answer at its end.

        A task that raised is a standing, too. AgentRL's workers have no word for an agent that cannot go on: there the
        session is cancelled, and ends as what the agent said.
        """
        if asked.status != "normal" and self._dialects.get(address) is Dialect.AGENTRL:
            await self.cancel(address, asked.session_id)
            return Standing(asked.session_id, SampleStatus(asked.status), before, replaces=True)
        body = interact_body(asked.session_id, asked.messages, asked.status)
        answer = await self._post(address, "interact", body)
        if answer.status == 501 and (raised := _raised(answer, asked.session_id)) is not None:
            return raised
        return standing_of(_payload(answer), asked.session_id, before)

    async def cancel(self, address: str, session_id: int) -> bool:
        """End a session at a worker, and tell whether it had it. Raises WorkerSilent."""
        answer = await self._post(address, "cancel", {"session_id": session_id}, timeout=CANCEL_SECONDS)
        return answer.status == 200

    async def cancel_all(self, address: str) -> None:
        """End all sessions of a worker."""
        _payload(await self._post(address, "cancel_all", None, timeout=CANCEL_SECONDS))

    async def sessions(self, address: str) -> dict[int, Index]:
        """Ask which sessions a worker holds, and the index of each."""
        payload = _payload(await self._ask("GET", address, "get_sessions", timeout=STATUS_SECONDS))
        try:
            held = {int(number): index for number, index in payload.items() if is_index(index)}
        except (AttributeError, ValueError):
            held = {-1: 0}
        if not all(0 <= number < _LARGEST_HELD for number in held):
            raise NotGranted(400, "Error: Worker returned error\nget_sessions: no object of sessions, by their numbers")
        return held

    async def calculate_overall(self, address: str, name: str, results: Sequence[Any]) -> Any:
        """Let a task make its own score of the results of samples."""
        return _payload(await self._post(address, "calculate_overall", {"name": name, "results": results}))

    def forget(self, address: str) -> None:
        """Another may be there from now on."""
        self._dialects.pop(address, None)

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()

    async def _post(self, address: str, call: str, body: Any, timeout: float | None = None) -> HttpAnswer:
        return await self._ask("POST", address, call, body, timeout=timeout)

    async def _ask(
        self,
        method: str,
        address: str,
        call: str,
        body: Any = None,
        timeout: float | None = None,
    ) -> HttpAnswer:
        seconds = self.timeout if timeout is None else min(timeout, self.timeout)
        largest = LARGEST_ANSWER if timeout is None else _LARGEST_STATUS
        try:
            url = f"{address.rstrip('/')}/{call}"
            return await self._exchange.ask(method, url, body, timeout=seconds, largest=largest)
        except Silent as silent:
            raise WorkerSilent(str(silent)) from None
        except Oversized as oversized:
            raise NotGranted(400, f"Error: Worker returned error\n{oversized}") from None


def _payload(answer: HttpAnswer) -> Any:
    if answer.status != 200:
        status = answer.status if 400 <= answer.status < 600 else 400
        raise NotGranted(status, f"Error: Worker returned error\n{answer.data[:100_000].decode(errors='replace')}")
    try:
        return answer.payload
    except ValueError as error:
        raise NotGranted(400, f"Error: Worker returned error\nno JSON: {error}") from None


def _raised(answer: HttpAnswer, session_id: int) -> Standing | None:
    try:
        return standing_of_error(answer.status, answer.payload, session_id)
    except ValueError:
        return None
