"""What this machine has against what the selected items need, looked at before anything starts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.slots.need import GB, Need, need_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.options import Options
    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.slots.gpus import Gpu
    from pytest_evalrun.suite.pairs import Pair


class Machine:
    """GPUs for this launch. NVML is not touched where nothing needs one; a pair that is cut needs none, its shards do.

    ``needs`` by full id of a pair; ``lacking`` says of what cannot be met why, where all that ask for it are optional.
    """

    def __init__(self, pairs: Iterable[Pair], others: Mapping[str, Need], only: str | None) -> None:
        asking = [pair for pair in pairs if pair.skip is None and asks_for_gpus(pair) and (pair.cut or not pair.cuts)]
        self.needs = {pair.full_id: need_of(pair.settings) for pair in asking if need_of(pair.settings)}
        self.gpus: Sequence[Gpu] = ()
        self.lacking: dict[str, str] = {}
        self._all = {*self.needs.values(), *others.values()}
        if self._all:
            self._look(only, asking, others)

    def _look(self, only: str | None, asking: Sequence[Pair], others: Mapping[str, Need]) -> None:
        from pytest_evalrun.slots.gpus import Nvml, find_gpus
        from pytest_evalrun.slots.leases import LeaseDirectory, Leases

        with Nvml() as nvml:
            found = find_gpus(only, nvml=nvml)
            self.gpus = found.gpus
            leases = Leases(LeaseDirectory(), found.gpus, nvml, found.reason)
            lacking = {need: text for need in self._all if (text := leases.lacking(need)) is not None}
        must = {pair.full_id: need_of(pair.settings) for pair in asking if not pair.settings.optional}
        problems = [_problem(need, text, {**must, **others}) for need, text in lacking.items()]
        if told := [problem for problem in problems if problem]:
            raise pytest.UsageError("\n".join(told))
        self.lacking = {str(need): _in_a_line(text) for need, text in lacking.items()}
        self.needs = {name: need for name, need in self.needs.items() if need not in lacking}

    def pool(self) -> Pool:
        from pytest_evalrun.planning.pool import Pool

        return Pool([gpu.total / GB for gpu in self.gpus])

    def slots(self) -> int:
        """How many models can be on the GPUs at once, of the kind of which there can be most."""
        pool = self.pool()
        return max((pool.capacity(need) for need in self._all), default=0)

    def line(self) -> str:
        """For a person, at the start: which GPUs there are, and what they have room for."""
        gpus = ", ".join(f"{gpu} {gpu.name} ({gpu.free / GB:.1f} of {gpu.total / GB:.1f} GB free)" for gpu in self.gpus)
        count = "1 model" if self.slots() == 1 else f"{self.slots()} models"
        return f"{gpus}; room for {count} at once"


def slots_of(files: Iterable[Path], options: Options) -> int:
    """For ``-n auto``, before anything is collected: as many workers as there can be models on GPUs; 0 for no GPU."""
    from pytest_evalrun.suite.discovery import discover

    pairs: list[Pair] = []
    for file in files:
        with suppress(ConfigError):  # told when it is collected
            pairs += discover(file, options.command_line(), options.eval_set()).pairs
    with suppress(ConfigError, pytest.UsageError):  # told for what is selected, which this may not be
        return Machine(pairs, {}, options.gpus).slots()
    return 0


def asks_for_gpus(pair: Pair) -> bool:
    """Without resolving the settings of 10,000 pairs that do not."""
    return any(layer.values.get("gpus") for layer in pair.layers)


def _problem(need: Need, text: str, asking: Mapping[str, Need]) -> str:
    names = [name for name, wanted in asking.items() if wanted == need]
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}: {text}\n  or write `optional: true` where a pair may be skipped"


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
