"""The model that a worker keeps loaded for the datasets that follow."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError, Lacking, PairError
from pytest_evalrun.predicting.ways import board_model, child_model, unleased_model
from pytest_evalrun.slots.need import need_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_evalrun.predicting.boardmodel import BoardModel
    from pytest_evalrun.predicting.boards import Boards
    from pytest_evalrun.predicting.leased import LeasedModel
    from pytest_evalrun.predicting.servedmodel import ServedModel
    from pytest_evalrun.predicting.services import Slots, WorkerServices
    from pytest_evalrun.predicting.session import LoadedModel
    from pytest_evalrun.rundir.events import EventWriter
    from pytest_evalrun.suite.pairs import Pair

# What makes two pairs share one loaded model: everything of the prediction's fingerprint that is not the data.
OF_THE_DATA = frozenset({"inputs", "limit"})
# A model that nobody used for so long makes room, where somebody waits for its GPU.
UNUSED_SECONDS = 60.0


class LoadedModels:
    """Keeps one model: a second one is loaded only after the first was closed, so memory holds one at a time."""

    def __init__(
        self,
        events: EventWriter,
        shown: Callable[[str], str],
        slots: Slots,
        around: WorkerServices,
        *,
        lacking: Mapping[str, str],
        boards: Callable[[], Boards],
        digest: Callable[[Path], str],
    ) -> None:
        """``lacking`` says of needs that this machine cannot meet why; ``digest`` gives the SHA-256 of a file."""
        self._events = events
        self._shown = shown
        self._slots = slots
        self._around = around
        self._lacking = lacking
        self._boards = boards
        self._digest = digest
        self._key: str | None = None
        self._adapter: LoadedModel | None = None
        self._leased: LeasedModel | ServedModel | BoardModel | None = None
        self._name = ""
        self._used = 0.0

    def get(self, pair: Pair, parts: Mapping[str, Any]) -> tuple[LoadedModel, float]:
        """The adapter of this pair, ready to predict, and the seconds that loading took (0 when it was loaded)."""
        key = _key(pair, parts)
        if self._adapter is None or key != self._key or (self._leased is not None and self._leased.broken):
            self.close()
            return self._load(pair, key)
        return self._adapter, 0.0

    def _load(self, pair: Pair, key: str) -> tuple[LoadedModel, float]:
        name = f"{pair.suite}/{pair.task.name}"
        adapter = self._create(pair)
        started = time.perf_counter()
        try:
            adapter.load()
        except EvalrunError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise PairError(f"model {name} could not be loaded: {what}", brief=f"not loaded: {what}") from error
        seconds = time.perf_counter() - started
        self._adapter, self._key, self._name = adapter, key, name
        self._events.write("model_loaded", pair.full_id, model=name, seconds=round(seconds, 6))
        return adapter, seconds

    def _create(self, pair: Pair) -> LoadedModel:
        """In this process, or in another one, which may have GPUs of its own."""
        need = need_of(pair.settings)
        if pair.settings.optional and (reason := self._lacking.get(str(need))):
            raise Lacking(reason)
        if need.devices:
            self._leased = board_model(pair, self._boards(), self._digest, self._around)
            return self._leased
        if (model := unleased_model(pair, need, self._around)) is not None:
            return model
        held = self._slots.take(need, pair.full_id, self._around) if need else None
        self._leased = child_model(pair, held, self._around)
        return self._leased

    def used(self) -> None:
        """An item has ended: from now on nobody uses the model."""
        self._used = time.monotonic()

    def make_room(self, unused: float = UNUSED_SECONDS) -> None:
        """For whoever waits for the GPUs of a model that has been idle for so long."""
        idle = time.monotonic() - self._used
        if self._leased is not None and idle >= unused and self._leased.is_wanted():
            self.close()

    def abandon(self) -> None:
        """The model was interrupted and cannot be trusted any more, not even to close itself.

        One that others run was not: only our requests to it were.
        """
        if getattr(self._adapter, "can_be_interrupted", False):
            return
        loaded, leased = self._adapter is not None, self._leased
        self._adapter = self._leased = None
        if leased is not None:
            leased.kill()
        if loaded:
            self._events.write("model_unloaded", model=self._name, error="abandoned: its item timed out")

    def close(self) -> None:
        """Give the model back; a fault in its ``close`` is told in the events and hurts nobody."""
        adapter, self._adapter, self._leased = self._adapter, None, None
        if adapter is None:
            return
        error = None
        try:
            adapter.close()
        except Exception as fault:  # noqa: BLE001 - the model's last act must not fail the pair that follows
            error = self._shown(f"{type(fault).__name__}: {fault}")
        self._events.write("model_unloaded", model=self._name, **({"error": error} if error else {}))


def _key(pair: Pair, parts: Mapping[str, Any]) -> str:
    without_data = {name: part for name, part in parts.items() if name not in OF_THE_DATA}
    of_the_model = pair.settings.kind.of_the_model(pair.settings, without_data)
    need = str(need_of(pair.settings))
    which = pair.task.path or pair.task.model  # a server may be started by its name alone
    return json.dumps([pair.suite, which, need, of_the_model], sort_keys=True, default=str)
