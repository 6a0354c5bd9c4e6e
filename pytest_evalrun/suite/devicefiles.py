"""``devices`` in a suite: read from the file that it names, its paths made absolute, and checked."""

# ruff: noqa: PTH109, PTH111, PTH113, PTH117, PTH118, PTH120
# Paths are text here, as everywhere in the layers.

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.devices import POLICIES
from pytest_evalrun.suite.loading import read_yaml
from pytest_evalrun.suite.problems import accepted, found, place_in
from pytest_evalrun.suite.schema import DevicesModel
from pytest_evalrun.suite.validation import validated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.settings import Settings

_OF_BOARDS = ("remote", "device", "upload")
_PATHS = ("identity_file", "known_hosts")


def complete_devices(layer: Layer, problems: Problems) -> None:
    """Turn what a layer says of ``devices`` into the list itself, with absolute paths; once for all pairs of it.

    A file named on the command line or in the environment is looked for from where the user stands.
    """
    written = layer.values.get("devices")
    if not written:
        return
    base = os.path.dirname(layer.source) if os.path.isabs(layer.source) else os.getcwd()
    if isinstance(written, str):
        file = os.path.join(base, os.path.expanduser(written))
        written = _read(file, layer, problems)
        base = os.path.dirname(file)
    assert isinstance(layer.values, dict), "layers are made of what YAML and JSON know"
    layer.values["devices"] = [_absolute(entry, base) for entry in written]
    for name, count in Counter(entry["name"] for entry in written).items():
        if count > 1:
            problems.add(
                f"{place_in(layer, 'devices')}: found {count} devices called {name!r}; accepted: each name once"
            )


def _read(file: str, layer: Layer, problems: Problems) -> list[dict[str, Any]]:
    if not os.path.isfile(file):
        named = layer.values["devices"]
        problems.add(f"{place_in(layer, 'devices')}: {found(named)}, which does not exist; looked for {file}")
        return []
    nothing: list[dict[str, Any]] = []
    return problems.attempt(lambda: _listed(file), nothing)


def _listed(file: str) -> list[dict[str, Any]]:
    document = read_yaml(file)
    devices: list[dict[str, Any]] = validated(DevicesModel, document.values, document.place)["devices"]
    return devices


def _absolute(entry: dict[str, Any], base: str) -> dict[str, Any]:
    """Make the paths of an entry absolute; a second time changes nothing."""
    return entry | {key: _path(entry[key], base) for key in _PATHS if key in entry}


def _path(value: Any, base: str) -> Any:
    if isinstance(value, list):
        return [_path(item, base) for item in value]
    return os.path.normpath(os.path.join(base, os.path.expanduser(value)))


def mistakes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with a pair's wish for a board: key and text."""
    if settings.kind.needs_board(settings):
        yield from _mistakes_of_a_pair_on_a_board(settings)
    elif settings.adapter is None:  # for tests of the user's own, by the fixture `device`
        yield from _mistakes_of_labels(settings)
    # Where there are boards, the suite is run without them for once: --eval-set adapter=command.
    elif wrong := [key for key in _OF_BOARDS if _says(settings, key) and (key == "remote" or not settings.devices)]:
        accepted_with = "with ssh, or command and remote: true"
        yield wrong[0], f"found with adapter {settings.adapter}; accepted: {accepted_with}"


def _says(settings: Settings, key: str) -> Any:
    return settings.device if key == "device" else settings.words.get(key)


def _mistakes_of_a_pair_on_a_board(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.gpus:
        yield "gpus", f"found {settings.gpus} for a model on a board; accepted: 0, labels of the board instead"
    yield from _mistakes_of_cleanup(settings)
    if not settings.devices:
        yield "devices", "there is no board; accepted: devices: [{name: …, host: …}], or a file with such a list"
        return
    yield from _mistakes_of_labels(settings)


def _mistakes_of_cleanup(settings: Settings) -> Iterator[tuple[str, str]]:
    for key, values in (("CLEANUP_REMOTE_WORKDIR", ("0", "1")), ("CLEANUP_SHARED_MODELS", POLICIES)):
        if settings.env.get(key, values[0]) not in ("", *values):
            yield f"env.{key}", f"{found(settings.env[key])}; accepted: {', '.join(values)}"


def _mistakes_of_labels(settings: Settings) -> Iterator[tuple[str, str]]:
    labels = [entry.get("labels", {}) for entry in settings.devices]
    known = {name for has in labels for name in has}
    for name, value in settings.device.items():
        values = sorted({has[name] for has in labels if name in has})
        if name not in known:
            yield f"device.{name}", f"no board has this label; {accepted(name, known)}"
            return
        if value not in values:
            yield f"device.{name}", f"found {value!r}, which no board has; {accepted(value, values)}"
            return
    if settings.device and not any(settings.device.items() <= has.items() for has in labels):
        yield "device", "no board has all of these labels; accepted: labels of one board"
