"""AgentBench's YAML: files that import others, and mappings whose entries share a default or are overwritten.

``import: FILE`` or a list of them, relative to the file that says it, puts what those hold below what stands beside it.
``default:`` lies below each entry beside it, ``overwrite:`` above each. Mappings are merged, lists are concatenated
(the lower one first), everything else is replaced. AgentRL reads the same words, but there a list replaces a list.
Scalars are those of YAML 1.1, as AgentBench reads them: ``no`` is false. ``${NAME}`` stays text.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.problems import found, place, shown

if TYPE_CHECKING:
    from pathlib import Path

Where = tuple[str | int, ...]


def load_agentbench(path: Path) -> dict[str, Any]:
    """Read a file of AgentBench's with all that it imports. Raises ConfigError naming file, line and key."""
    values = _Files().load(path.resolve(), None)
    if not isinstance(values, dict):
        raise ConfigError(f"{place(str(path), 1)}: {found(values)}; accepted: a mapping, `key: value` lines")
    return values


def merged(base: Any, new: Any) -> Any:
    """Lay one value over another by AgentBench's rules."""
    if isinstance(base, dict) and isinstance(new, dict):
        return base | {key: merged(base[key], value) if key in base else value for key, value in new.items()}
    if isinstance(base, list) and isinstance(new, list):
        return base + new
    return new


class _Files:
    """The files of one configuration, each read once; knows which of them are being read."""

    def __init__(self) -> None:
        self._reading: list[Path] = []
        self._known: dict[Path, Any] = {}

    def load(self, path: Path, asker: str | None) -> Any:
        """Read a file; ``asker`` is the place that imports it."""
        if path in self._reading:
            circle = " → ".join(shown(str(file)) for file in [*self._reading[self._reading.index(path) :], path])
            raise ConfigError(f"{asker}: files that import each other in a circle: {circle}; accepted: no circle")
        if path not in self._known:
            self._reading.append(path)
            try:
                text, values = _read(path, asker)
                self._known[path] = _laid_out(self._with_imports(values, path, text, ()))
            except RecursionError:
                raise ConfigError(f"{place(str(path), None)}: nested too deeply; accepted: plain settings") from None
            finally:
                self._reading.pop()
        return deepcopy(self._known[path])

    def _with_imports(self, value: Any, path: Path, text: str, where: Where) -> Any:
        if isinstance(value, list):
            return [self._with_imports(item, path, text, (*where, index)) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        base: Any = {}
        for name, key in _imported(value, path, text, (*where, "import")):
            there = (path.parent / name).resolve()
            base = merged(base, self.load(there, place(str(path), _line(text, key), "import")))
        own = {
            key: self._with_imports(item, path, text, (*where, key)) for key, item in value.items() if key != "import"
        }
        return merged(base, own)


def _imported(value: dict[Any, Any], path: Path, text: str, where: Where) -> list[tuple[str, Where]]:
    """The files that a mapping imports, each with its way from the top of the file that says so."""
    if "import" not in value:
        return []
    names = value["import"]
    files = [(names, where)] if isinstance(names, str) else names
    if isinstance(names, list):
        files = [(name, (*where, index)) for index, name in enumerate(names)]
    if not isinstance(files, list) or not all(isinstance(name, str) for name, _ in files):
        at = place(str(path), _line(text, where), "import")
        raise ConfigError(f"{at}: {found(names)}; accepted: the path of a file, or a list of them")
    return files


def _laid_out(value: Any) -> Any:
    """Put ``default`` below, and ``overwrite`` above, each entry beside them."""
    if isinstance(value, list):
        return [_laid_out(item) for item in value]
    if not isinstance(value, dict):
        return value
    entries = {key: _laid_out(item) for key, item in value.items()}
    shared = {key: entries.pop(key) for key in ("default", "overwrite") if key in entries}
    for key, entry in entries.items():
        over = merged(entry, deepcopy(shared["overwrite"])) if "overwrite" in shared else entry
        entries[key] = merged(deepcopy(shared["default"]), over) if "default" in shared else over
    return entries


def _read(path: Path, asker: str | None) -> tuple[str, Any]:
    """The text of a file and the value in it; ``asker`` is to blame where there is no such file."""
    blame = f"{asker}: {shown(str(path))}" if asker else place(str(path), None)
    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise ConfigError(f"{blame}: found a file named *{path.suffix}; accepted: .yaml, .yml, .json")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{blame}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{blame}: found bytes that are not UTF-8; accepted: UTF-8 text") from None
    return text, _json(path, text) if path.suffix == ".json" else _yaml(path, text)


def _json(path: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ConfigError(f"{place(str(path), getattr(error, 'lineno', None))}: not JSON: {error}") from None


def _yaml(path: Path, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ConfigError(f"{place(str(path), mark.line + 1 if mark else None)}: not YAML: {what}") from None
    except ValueError as error:  # a date such as 2024-13-45
        raise ConfigError(f"{place(str(path), None)}: not YAML: {error}") from None


def _line(text: str, where: Where) -> int | None:
    """The line of a value in a text that is sound YAML, or JSON, which is YAML."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    line = None
    for key in where:
        if isinstance(node, yaml.MappingNode):
            beside = [pair for pair in node.value if pair[0].value == key]
            if not beside:
                break
            line, node = beside[-1][0].start_mark.line + 1, beside[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line
