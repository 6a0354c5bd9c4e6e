"""The samples of a task: the indices that it has, in the order in which it says them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pytest_evalrun.agents.tasks.assignment import read_assignment
from pytest_evalrun.agents.tasks.content import content_of, source_of
from pytest_evalrun.agents.tasks.indices import NobodyThere, indices_of_code, indices_of_server, one_at_a_time
from pytest_evalrun.agents.tasks.mistakes import TaskMistakes, defined_tasks, task_of
from pytest_evalrun.agents.wire.addresses import server_address
from pytest_evalrun.datasets.protocol import Identity, Sample
from pytest_evalrun.datasets.values import digest_of
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.suite.secrets import expand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.agents.protocol import Index
    from pytest_evalrun.agents.tasks.definitions import TaskDefinition
    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings


class TaskReader:
    """One sample for each index, whose id is the index as text; there are no references: the task itself judges.

    A task that a controller serves counts by its name and its indices; one that is started for the launch by its code,
    its parameters and the files that these name.
    """

    accepted: ClassVar[frozenset[str]] = frozenset()
    # Paths of tasks are relative to the suite.
    in_suite: ClassVar[bool] = True
    # What is wrong with tasks, found out before there is a reader; and the pairs that an assignment names.
    mistakes = TaskMistakes
    assigned = staticmethod(read_assignment)

    def __init__(self, dataset: Dataset, settings: Settings, root: str) -> None:
        self._settings = settings
        self._root = root
        self._task = task_of(settings, dataset)
        self._known: list[Index] | None = None

    def __iter__(self) -> Iterator[Sample]:
        if self._known is None:
            self._known = self._asked()
        for place, index in enumerate(self._known):
            yield Sample(place, str(index), {"index": index})

    def identity(self, hashes: Hashes) -> Identity:
        """Ask a controller each time, and the code of a task again only when something of it changed."""
        if self._settings.controller is not None:
            self._known = self._said(hashes)
            digest = digest_of("task of a server", self._task, self._known)
        else:
            content = digest_of("task", content_of(self._definition, self._root, hashes))
            self._known = self._remembered(content, hashes)
            digest = digest_of(content, self._known)
        return Identity(digest, "", len(self._known))

    def _said(self, hashes: Hashes) -> list[Index]:
        """What the controller says; where there is none, what it said last: what is finished needs it no more."""
        name = f"indices of {self._task} at {self._settings.controller}"
        try:
            indices = self._asked()
        except NobodyThere:
            if (noted := hashes.noted(name)) is None:
                raise
            return list(noted["indices"])
        hashes.note(name, {"indices": indices})
        return indices

    def _remembered(self, content: str, hashes: Hashes) -> list[Index]:
        """What the code of a task said when it was as it is; of several processes that want to know it, one asks."""
        name = f"indices of {content}"
        if source_of(self._definition.entry["module"], self._root) is None:
            return self._asked()  # nobody knows whether it is as it was
        noted = hashes.noted(name)
        if noted is None:
            with one_at_a_time(content):
                noted = hashes.noted(name) or {"indices": self._asked()}
                hashes.note(name, noted)
        return list(noted["indices"])

    def _asked(self) -> list[Index]:
        if self._settings.controller is None:
            return indices_of_code(self._definition, self._config, self._root)
        try:
            url = server_address(expand(self._settings.controller), "controller")
        except ConfigError as error:
            raise PairError(str(error)) from None
        return indices_of_server(url, self._task, self._settings.controller)

    @property
    def _config(self) -> Path | None:
        return Path(self._root, self._settings.tasks) if isinstance(self._settings.tasks, str) else None

    @cached_property
    def _definition(self) -> TaskDefinition:
        try:
            named = defined_tasks(self._settings.tasks or {}, self._root)
        except ConfigError as error:  # the file has changed since it was checked
            raise PairError(str(error)) from None
        if self._task not in named:
            raise PairError(f"task {self._task}: found neither in `tasks` nor a `controller` that has it")
        return named[self._task]
