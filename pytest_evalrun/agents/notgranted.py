"""A request that a controller or a worker does not grant."""

from __future__ import annotations


class NotGranted(Exception):  # noqa: N818 - what is the case
    """The HTTP status of the answer, and the text that says why, as AgentBench's servers say it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
