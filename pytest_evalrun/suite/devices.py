"""The boards of a suite as data: where each is, how to get in, what it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.settings import is_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings


@dataclass(frozen=True)
class DeviceSpec:
    """One board as the suite names it; what is left open is found in the user's ssh configuration.

    ``home`` is its REMOTE_TASK_HOME, empty for the one that the pair's settings name; ``slots`` models may have it at
    the same time; a lost link is waited for ``patience`` seconds before it is given up. All paths are absolute.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    identity_file: tuple[str, ...] = ()
    jump: str | None = None
    password_env: str | None = None
    host_key: str = "check"
    known_hosts: str | None = None
    home: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int = 1
    patience: float = 30.0

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> DeviceSpec:
        """Make a spec from an entry of ``devices``, as the schema left it."""
        values = {"host": entry["name"], **entry, "identity_file": tuple(entry.get("identity_file", ()))}
        return cls(**values)

    @property
    def key(self) -> str:
        """The same for two suites that write the same board down in the same way; enough to plan with."""
        return f"{self.user or ''}@{self.host}:{self.port or ''}"

    def has(self, labels: Mapping[str, str]) -> bool:
        return all(self.labels.get(name) == value for name, value in labels.items())


def asks_for_boards(pair: Pair) -> bool:
    """Tell whether a pair may need a board, without resolving the settings of 10,000 pairs that do not."""
    adapter = pair.peek("adapter")
    return (
        adapter is not None and not is_reference(adapter) and any(layer.values.get("devices") for layer in pair.layers)
    )


def devices_of(settings: Settings) -> list[DeviceSpec]:
    """List the boards that would do for a pair, in the order of the suite."""
    specs = [DeviceSpec.of(entry) for entry in settings.devices]
    return [spec for spec in specs if spec.has(settings.device)]


# CLEANUP_SHARED_MODELS: what becomes of the models on a board.
KEEP_MODELS, DROP_MODELS, DROP_CACHE = "0", "1", "2"
POLICIES = (KEEP_MODELS, DROP_MODELS, DROP_CACHE)


def home_of(spec: DeviceSpec, settings: Settings) -> str:
    """Return REMOTE_TASK_HOME; empty for the user's home on the board."""
    return spec.home or settings.env.get("REMOTE_TASK_HOME") or ""


def model_policy(settings: Settings) -> str:
    return settings.env.get("CLEANUP_SHARED_MODELS") or DROP_MODELS


def keeps_work(settings: Settings) -> bool:
    """Tell whether the work directories of the pair are left on the board, for somebody to look into."""
    return settings.env.get("CLEANUP_REMOTE_WORKDIR") == "0"
