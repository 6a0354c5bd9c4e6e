"""What a controller keeps of living sessions beside their slots: on disk, conversations, the call that is out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from pytest_evalrun.agents.controller.roster import SampleSession
    from pytest_evalrun.agents.controller.store import Store
    from pytest_evalrun.agents.protocol import Message


class SessionRecords:
    """The journal of a core. A session that ends, for whatever reason, ends the call that its worker works on.

    Conversations are those of AgentRL's workers alone, whose answers hold only what is new: AgentBench's clients
    want all of it each time.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls: dict[int, asyncio.Task[Any]] = {}
        self._conversations: dict[int, list[Message]] = {}

    def began(self, session: SampleSession) -> None:
        self._store.began(session)

    def ended(self, session: SampleSession) -> None:
        if session.is_kept:
            self._store.ended(session)
        self._conversations.pop(session.id, None)
        call = self._calls.pop(session.id, None)
        if call is not None:
            call.cancel()

    def calling(self, number: int, call: asyncio.Task[Any]) -> None:
        """Note the call that is out for a session."""
        self._calls[number] = call

    def called(self, number: int) -> None:
        """It has come to an end."""
        self._calls.pop(number, None)

    def conversation(self, number: int) -> list[Message] | None:
        """Tell the conversation of a session so far; None where its worker tells it itself."""
        found = self._conversations.get(number)
        if found is None and (stored := self._store.messages(number)):
            found = self._conversations[number] = stored
        return found

    def keep(self, number: int, conversation: list[Message], known: Sequence[Message] = ()) -> None:
        """Keep a conversation that went on behind ``known``, which is on disk already; or another one."""
        at = len(known) if conversation[: len(known)] == list(known) else 0
        self._conversations[number] = conversation
        self._store.keep_messages(number, at, conversation[at:])
