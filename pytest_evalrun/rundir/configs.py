"""``configs/<launch time>.yaml``: a snapshot of what each launch was told to do, secrets blanked."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.suite.secrets import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair

    Blank = Callable[[str], str]

_WIDE = 1 << 20


class SuiteLike(Protocol):
    """The part of a suite that a snapshot shows."""

    @property
    def name(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def pairs(self) -> Sequence[Pair]: ...


def write_snapshot(
    paths: RunPaths,
    launch_time: datetime,
    suites: Iterable[SuiteLike],
    argv: Sequence[str],
    secrets: Secrets = NO_SECRETS,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write what a launch was told to do; ``secrets`` are the values that must not be seen."""
    suites = list(suites)
    # Without secrets nothing of the 10,000 texts is looked at.
    blank = secrets.blank if secrets else str
    head = {
        "format": 1,
        "launched": launch_time.astimezone().isoformat(timespec="seconds"),
        "argv": list(argv),
        "options": dict(options or {}),
        "suites": [_suite(suite) for suite in suites],
    }
    text = _yaml(_blanked(head, blank)) + _pair_lines(suites, blank)
    path = _free(paths.configs, launch_time.astimezone().strftime("%Y%m%d_%H%M%S"))
    write_atomic(path, text)
    return path


def _suite(suite: SuiteLike) -> dict[str, Any]:
    # Pairs share their layers: a layer is the same one by identity.
    layers = {id(layer): layer for pair in suite.pairs for layer in pair.layers}.values()
    shown = [{"kind": layer.kind, "source": layer.source, "values": dict(layer.values)} for layer in layers]
    return {"name": suite.name, "file": str(suite.file), "layers": shown}


def _pair_lines(suites: Sequence[SuiteLike], blank: Blank) -> str:
    """Write the ids as one block of plain text: 10,000 nodes would take YAML a second."""
    ids = [pair.full_id for suite in suites for pair in suite.pairs]
    text = _shown("\n".join(ids), blank)
    # A block holds no character that YAML takes for a line break or does not print.
    if not text or not text.replace("\n", "").isprintable() or "\ufeff" in text:
        return _yaml({"pairs": text})
    return "pairs: |2-\n" + "".join(f"  {line}\n" for line in text.split("\n"))


def _blanked(value: Any, blank: Blank) -> Any:
    """Copy a structure into builtins, each text in it without the secrets."""
    if isinstance(value, str):
        return _shown(value, blank)
    if isinstance(value, dict):
        return {_blanked(key, blank): _blanked(item, blank) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blanked(item, blank) for item in value]
    return value if isinstance(value, bool | int | float | None) else _shown(str(value), blank)


def _shown(text: str, blank: Blank) -> str:
    # A file name that is not UTF-8 holds letters that YAML cannot write.
    return blank(text).encode("utf-8", "backslashreplace").decode()


def _yaml(content: Mapping[str, Any]) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(content, Dumper=dumper, allow_unicode=True, sort_keys=False, width=_WIDE)
    return text


def _free(directory: Path, stamp: str) -> Path:
    """Find a free name of this second; two launches of a run within one are possible, at the same time they are not."""
    for number in count(1):
        path = directory / (f"{stamp}.yaml" if number == 1 else f"{stamp}_{number}.yaml")
        if not path.exists():
            return path
    raise AssertionError("unreachable")
