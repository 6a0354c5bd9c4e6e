"""The GPUs of this machine and the boards, against what the selected items need; before anything starts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.slots.need import GB, Need, need_of
from pytest_evalrun.suite.devices import asks_for_boards, devices_of
from pytest_evalrun.suite.printable import counted, first_of, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.slots.gpus import Gpu
    from pytest_evalrun.suite.devices import DeviceSpec
    from pytest_evalrun.suite.pairs import Pair


class Machine:
    """GPUs and boards for this launch. NVML is not touched where nothing needs a GPU, and boards never are.

    A pair that is cut needs none, its shards do. ``needs`` by full id of a pair, ``boards`` by their keys; ``lacking``
    says of what cannot be met why, where all that ask for it are optional. Who is ``patient`` leaves memory that others
    use to the items, which wait for it: a job that was killed may have left it a moment ago.
    """

    def __init__(
        self, pairs: Iterable[Pair], others: Mapping[str, Need], only: str | None, *, patient: bool = False
    ) -> None:
        due = [pair for pair in pairs if pair.skip is None]
        loading = [pair for pair in due if not pair.is_cut]
        asking = [pair for pair in loading if asks_for_gpus(pair) or asks_for_boards(pair)]
        self.needs = {pair.full_id: need for pair in asking if (need := need_of(pair.settings))}
        self.gpus: Sequence[Gpu] = ()
        self.lacking: dict[str, str] = {}
        self._all = {*self.needs.values(), *others.values()}
        self._must = {pair.full_id: self.needs.get(pair.full_id) for pair in asking if not pair.settings.optional}
        self.boards = _boards_of_tests(due, others) | _boards(asking, self.needs)
        if any(need.gpus for need in self._all):
            self._look(only, others, patient)

    def _look(self, only: str | None, others: Mapping[str, Need], patient: bool) -> None:
        from pytest_evalrun.slots.gpus import Nvml
        from pytest_evalrun.slots.leases import LeaseDirectory, Leases
        from pytest_evalrun.slots.visible import find_gpus

        with Nvml() as nvml:
            found = find_gpus(only, nvml=nvml)
            self.gpus = found.gpus
            leases = Leases(LeaseDirectory(), found.gpus, nvml, found.reason)
            wanted = [need for need in self._all if need.gpus]
            lacking = {need: text for need in wanted if (text := leases.lacking(need)) is not None}
            must = {**self._must, **others}
            problems = {need: told for need, text in lacking.items() if (told := _problem(need, text, must))}
            waited = {need for need in problems if patient and not leases.is_in_vain(need)}
        if hopeless := [problem for need, problem in problems.items() if need not in waited]:
            raise pytest.UsageError(printable("\n".join(hopeless)))
        self._skip({need: text for need, text in lacking.items() if need not in waited})

    def do_without(self, gone: Mapping[str, tuple[str, str]]) -> None:
        """Boards by their keys, with their names, and why; who needs one of them and no other is skipped, if optional.

        Others are not planned for any more: their items find out at once that there is nothing to wait for.
        """
        self.boards = {key: spec for key, spec in self.boards.items() if key not in gone}
        lost = [need for need in self._all if need.devices and all(key in gone for key in need.devices)]
        self._skip({need: _gone(gone[key] for key in need.devices) for need in lost})
        self.needs = {name: need for name, need in self.needs.items() if need not in lost}
        self._all.difference_update(lost)

    def _skip(self, lacking: Mapping[Need, str]) -> None:
        self.lacking |= {str(need): " ".join(text.split()) for need, text in lacking.items()}
        self.needs = {name: need for name, need in self.needs.items() if need not in lacking}

    def pool(self) -> Pool:
        from pytest_evalrun.planning.pool import Pool

        slots = {key: spec.slots for key, spec in self.boards.items()}
        return Pool([gpu.total / GB for gpu in self.gpus], slots, self._all)

    def slots(self) -> int:
        """How many models there can be at once, on the GPUs of the kind of which there can be most, or on boards."""
        return max(self._on_gpus(), self._on_boards())

    def _on_gpus(self) -> int:
        pool = self.pool()
        return max((pool.capacity(need) for need in self._all if need.gpus), default=0)

    def _on_boards(self) -> int:
        return sum(spec.slots for spec in self.boards.values())

    def lines(self) -> Iterator[str]:
        """Tell a person, at the start, which GPUs and boards there are, and what they have room for."""
        if self.gpus:
            gpus = [f"{gpu} {gpu.name} ({gpu.free / GB:.1f} of {gpu.total / GB:.1f} GB free)" for gpu in self.gpus]
            yield f"{', '.join(gpus)}; room for {counted(self._on_gpus(), 'model')} at once"
        if self.boards:
            boards = ", ".join(map(_named, self.boards.values()))
            yield f"boards: {boards}; room for {counted(self._on_boards(), 'model')} at once"


def slots_of(files: Iterable[Path], options: Options) -> int:
    """Count the models that there can be on GPUs or boards, for ``-n auto``, before anything is collected.

    0 where none is needed.
    """
    from pytest_evalrun.suite.discovery import discover

    pairs: list[Pair] = []
    for file in files:
        with suppress(ConfigError):  # told when it is collected
            pairs += discover(file, options.command_line(), options.eval_set()).pairs
    with suppress(ConfigError, pytest.UsageError):  # told for what is selected, which this may not be
        return Machine(pairs, {}, options.gpus).slots()
    return 0


def asks_for_gpus(pair: Pair) -> bool:
    """Say whether a pair asks for GPUs, without resolving the settings of 10,000 pairs that do not."""
    return any(layer.values.get("gpus") for layer in pair.layers)


def on_boards(pairs: Mapping[str, Pair]) -> dict[str, Pair]:
    """Those of the pairs by node id that run on boards."""
    due = {nodeid: pair for nodeid, pair in pairs.items() if pair.skip is None and asks_for_boards(pair)}
    return {nodeid: pair for nodeid, pair in due.items() if need_of(pair.settings).devices}


def _boards(pairs: Iterable[Pair], needs: Mapping[str, Need]) -> dict[str, DeviceSpec]:
    """By their keys; many pairs have the same choice of them."""
    choices = {need: pair for pair in pairs if (need := needs.get(pair.full_id)) is not None and need.devices}
    return {spec.key: spec for pair in choices.values() for spec in devices_of(pair.settings)}


def _boards_of_tests(pairs: Iterable[Pair], others: Mapping[str, Need]) -> dict[str, DeviceSpec]:
    """Those that only tests of the user's own ask for: their pairs speak of them, and need not run there."""
    wanted = {key for need in others.values() for key in need.devices}
    speaking = [pair for pair in pairs if any(layer.values.get("devices") for layer in pair.layers)] if wanted else []
    return {spec.key: spec for pair in speaking for spec in devices_of(pair.settings) if spec.key in wanted}


def _gone(boards: Iterable[tuple[str, str]]) -> str:
    """Names and reasons; those that are gone for the same reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in boards:
        names.setdefault(reason, []).append(name)
    return "no board: " + "; ".join(f"{', '.join(those)}: {reason}" for reason, those in names.items())


def _problem(need: Need, text: str, asking: Mapping[str, Need | None]) -> str:
    names = [name for name, wanted in asking.items() if wanted == need]
    if not names:
        return ""
    return f"{first_of(names, 1)}: {text}\n  or write `optional: true` where a pair may be skipped"


def _named(spec: DeviceSpec) -> str:
    labels = ", ".join(f"{name} {value}" for name, value in spec.labels.items())
    return f"{spec.name} ({labels})" if labels else spec.name
