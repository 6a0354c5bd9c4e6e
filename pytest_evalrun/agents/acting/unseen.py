"""Tools of a task that an agent is not shown: whoever wonders why nothing is solved finds it in the pair's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class UnseenTools:
    """Tells of the tools of each task once; many tasks take a text as well, so nothing is refused."""

    def __init__(self, who: str, say: Callable[[str], object]) -> None:
        self._who = who
        self._say = say
        self._told: set[tuple[str, ...]] = set()

    def note(self, tools: Sequence[Mapping[str, Any]]) -> None:
        names = tuple(_name(tool) for tool in tools)
        if names and names not in self._told:
            self._told.add(names)
            self._say(f"{self._who} is not shown the tools of the task ({', '.join(names)}): it answers in text")


def _name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name") if isinstance(function, dict) else tool.get("name"))
