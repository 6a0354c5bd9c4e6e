"""evalrun.yaml → items, and what pytest must not walk into."""

from __future__ import annotations

import fnmatch
import json
import os
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.launch import LaunchDir, import_plainly, keep_imports, revive_imports
from pytest_evalrun.plugin.options import Options, read_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_evalrun.suite.discovery import Suite

SUITE_FILE = "evalrun.yaml"
CUTTING = ("shards", "shard_size")
GPUS_MARKER = "gpus(count=1, memory=0, per_gpu=1): what the fixture `gpus` leases for a test; memory in GB for each"


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip(os.sep)}{os.sep}")


class Suites:
    """The suites of this process, found as pytest comes by them. Costs one ``stat`` a directory until the first."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        given = getattr(config, "workerinput", {}).get("evalrun_launch")
        self.launch = LaunchDir(Path(given) if given else None)
        self.found: dict[str, Suite] = {}
        self.errors: dict[str, str] = {}
        self.foreign: dict[str, str] = {}
        self._roots: dict[str, str | None] = {}
        self._workdir: str | None = None
        self._protected: set[str] = set()
        self._options: Options | None = None
        self._places: dict[str, str] | None = None

    @property
    def options(self) -> Options:
        if self._options is None:
            self._options = read_options(self.config)
        return self._options

    @property
    def active(self) -> bool:
        """Whether any suite was found, broken ones included."""
        return bool(self.found or self.errors)

    def enter(self, path: Path) -> bool:
        """Note a directory that pytest is about to collect; True where it must not, because it holds data."""
        directory = os.fspath(path)
        root = self._root_of(directory)
        if root is not None and self._is_asked_for(directory):
            self.load(os.path.join(root, SUITE_FILE))  # noqa: PTH118 - paths stay strings: this runs per directory
        return directory in self._protected or self._is_run(directory)

    def _is_run(self, directory: str) -> bool:
        """What else lies in the work directory is not ours."""
        workdir, name = os.path.split(directory)
        if workdir != self._workdir:
            return False
        from pytest_evalrun.rundir.layout import WorkDir

        return WorkDir(Path(workdir)).run(name).run_json.exists()

    def _is_asked_for(self, directory: str) -> bool:
        """pytest looks at the neighbours of what it was asked for, too, though it collects nothing of them."""
        return any(_within(directory, asked) or _within(asked, directory) for asked in self._asked)

    @cached_property
    def _asked(self) -> tuple[str, ...]:
        """The paths of the command line; with ``--pyargs`` they may be names of packages, and all is asked for."""
        if self.config.option.pyargs:
            return (os.sep,)
        here = self.config.invocation_params.dir
        return tuple(os.path.abspath(here / arg.partition("::")[0]) for arg in self.config.args)  # noqa: PTH100 - as above

    def is_foreign(self, path: Path) -> bool:
        """Whether an evalrun.yaml is none of ours."""
        self.load(str(path))
        return str(path) in self.foreign

    def is_root(self, path: Path) -> bool:
        """Whether a directory holds a suite."""
        return os.fspath(path / SUITE_FILE) in self.found

    def _root_of(self, directory: str) -> str | None:
        """The nearest directory at or above that holds a suite."""
        if directory not in self._roots:
            parent = os.path.dirname(directory)  # noqa: PTH120 - as above
            if os.path.isfile(os.path.join(directory, SUITE_FILE)):  # noqa: PTH113, PTH118 - as above
                self._roots[directory] = directory
            else:
                self._roots[directory] = self._roots.get(parent)
        return self._roots[directory]

    def suite_above(self, path: Path) -> Suite | None:
        """The suite that a test file belongs to: the nearest one above it."""
        files = (str(directory / SUITE_FILE) for directory in path.parents if (directory / SUITE_FILE).is_file())
        for file in files:
            suite = self.load(file)
            if file not in self.foreign:
                return suite
        return None

    def load(self, file: str) -> Suite | None:
        """The suite of this file, discovered once a launch; None when it is broken (see ``errors``) or ``foreign``."""
        if file not in self.found and file not in self.errors and file not in self.foreign:
            self._load(file)
        return self.found.get(file)

    def _load(self, file: str) -> None:
        import_plainly(self.config)
        revive_imports()
        discovered: list[Suite] = []
        text = self.launch.once(_published_name(file), lambda: self._discover(file, discovered))
        content = json.loads(text) if not discovered else {}
        if "foreign" in content and file not in self._asked:
            self._pass_over(file, content["foreign"])
            return
        self._activate()
        content |= {"error": content["foreign"]} if "foreign" in content else {}
        if "error" in content:
            self.errors[file] = content["error"]
            return
        suite = discovered[0] if discovered else _thaw(content)
        self.found[file] = suite
        self._protected.update(suite.protected)
        for tag in sorted({tag for pair in suite.pairs for tag in pair.tags}):
            self.config.addinivalue_line("markers", f"{tag}: a tag of suite {suite.name}")

    def _discover(self, file: str, discovered: list[Suite]) -> str:
        from pytest_evalrun.errors import ConfigError
        from pytest_evalrun.suite.foreign import why_foreign

        if (reason := why_foreign(file)) is not None:
            return json.dumps({"file": file, "foreign": reason})
        from pytest_evalrun.suite.discovery import discover
        from pytest_evalrun.suite.published import dump

        try:
            suite = discover(Path(file), self.options.command_line(), self.options.eval_set())
            suite = self._cut(suite)
        except ConfigError as error:
            return json.dumps({"error": str(error)})
        discovered.append(suite)
        return json.dumps({"suite": dump([suite])})

    def _pass_over(self, file: str, reason: str) -> None:
        """What is below belongs to the suite above, as if the file were not there; it is told at the end."""
        self.foreign[file] = reason
        directory = os.path.dirname(file)  # noqa: PTH120 - as above
        self._roots[directory] = self._roots.get(os.path.dirname(directory))  # noqa: PTH120 - as above

    def _cut(self, suite: Suite) -> Suite:
        """Only where something is cut is data looked at before the run."""
        if not any(layer.values.get(word) for pair in suite.pairs for layer in pair.layers for word in CUTTING):
            return suite
        from pytest_evalrun.evaluation.cuts import cut_suite
        from pytest_evalrun.rundir.layout import WorkDir

        return cut_suite(suite, WorkDir(self.options.workdir).hashes)

    def _activate(self) -> None:
        """The first suite switches everything else on."""
        if self.active or self.config.pluginmanager.has_plugin("evalrun-items"):
            return
        from pytest_evalrun.plugin.fixtures import register

        self._workdir = os.path.normpath(self.options.workdir)
        self.config.addinivalue_line("markers", GPUS_MARKER)
        register(self.config, self)

    def load_all(self, ids: Iterable[str]) -> None:
        """On the controller, which collects nothing: the suites that workers found, from what they published."""
        files = {nodeid.partition("::")[0] for nodeid in ids}
        for name in sorted(files):
            path = self.path_of(name)
            if path.name == SUITE_FILE:
                self.load(str(path))
            else:
                self.suite_above(path)

    def publish_places(self, items: Iterable[pytest.Item]) -> None:
        """Where the files of node ids lie that do not say it: with ``-c`` rootdir is elsewhere."""
        files = {item.nodeid.partition("::")[0]: str(item.path) for item in items}
        elsewhere = {name: path for name, path in files.items() if str(self.config.rootpath / name) != path}
        if elsewhere:
            self.launch.once("places.json", lambda: json.dumps(elsewhere))

    def path_of(self, name: str) -> Path:
        """The file that a node id begins with."""
        if self._places is None:
            self._places = json.loads(self.launch.read("places.json") or "{}")
        return self.config.rootpath / self._places.get(name, name)

    def selected(self, choose: Callable[[], list[str]]) -> set[str]:
        """Decided once a launch: a replacement for a crashed worker must see the same items."""
        content = json.loads(self.launch.once("selection.json", lambda: _told(choose)))
        self._note_error("--eval-only", content)
        return set(content.get("selected", ()))

    def _note_error(self, key: str, content: dict[str, Any]) -> None:
        if "error" in content:
            self.errors[key] = content["error"]

    def read_published(self) -> None:
        """On the controller: also suites of which no item was collected, because they are broken."""
        if not self.launch.path.is_dir():
            return
        for path in sorted(self.launch.path.glob("suite-*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            if "error" in content:
                self.errors[content.get("file", path.name)] = content["error"]
            else:
                self.load(content["file"] if "foreign" in content else _thaw(content).file)
        self._note_error("--eval-only", json.loads(self.launch.read("selection.json") or "{}"))

    def raise_errors(self) -> None:
        """Everything that is wrong with any suite, as one usage error."""
        if problems := [*self.errors.values(), *_clashes(self.found.values())]:
            from pytest_evalrun.suite.printable import printable

            raise pytest.UsageError(printable("\n".join(problems)))

    def tell(self, node: Any) -> None:
        """What every worker must know before it has found a suite."""
        node.workerinput["evalrun_launch"] = str(self.launch.path)
        node.workerinput["evalrun_loop"] = self._schedules()
        node.workerinput["evalrun_refused"] = self.refused

    def _schedules(self) -> bool:
        """Whether our scheduler takes over once a pair is found: not where the user asked for another one."""
        offered = self.config.hook.pytest_xdist_make_scheduler.get_hookimpls()
        return self.config.getoption("dist") == "load" and len(offered) == 1 and self.options.scheduler

    @property
    def refused(self) -> str | None:
        """Why no pair may be evaluated in this launch; other tests run all the same."""
        if hasattr(self.config, "workerinput"):
            told: str | None = self.config.workerinput.get("evalrun_refused")
            return told
        each = self.config.getoption("dist", "no") == "each" and not self.config.option.collectonly
        return "--dist each would evaluate every pair on every worker; use --dist load" if each else None

    def close(self) -> None:
        if self.active or self.foreign:
            keep_imports()
        if not hasattr(self.config, "workerinput"):
            self.launch.remove()


suites_key = pytest.StashKey[Suites]()


class SuiteModule(pytest.Module):
    """evalrun.yaml collected as a module whose only function is ``test_pair``."""

    def _getobj(self) -> Any:
        """A module of its own, because reports show what a module says of itself."""
        from pytest_evalrun.plugin.pair_module import test_pair

        module = ModuleType("evalrun", f"The suite in {self.path}.")
        vars(module)["test_pair"] = test_pair
        return module

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        suite = self.config.stash[suites_key].load(str(self.path))
        return super().collect() if suite is not None and suite.has_adapter else []


class DataDirectory(pytest.File):
    """A directory of samples or outputs: nothing in it is ever collected.

    A File to pytest, because of a Directory it would run the ``conftest.py``.
    """

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return []


def refuse_data(config: pytest.Config) -> None:
    """Raise UsageError for data named on the command line: of such a path pytest runs every ``conftest.py`` at once."""
    for argument in config.known_args_namespace.file_or_dir:
        given = config.invocation_params.dir / argument.partition("::")[0]
        path = Path(os.path.abspath(given))  # noqa: PTH100 - links stay, as in the paths of a suite
        directory = path if path.is_dir() else path.parent
        file = next((found for parent in directory.parents if _is_suite(found := parent / SUITE_FILE)), None)
        if file is not None and not (directory / SUITE_FILE).is_file():
            _refuse_inside(directory, file)


def _refuse_inside(directory: Path, file: Path) -> None:
    from pytest_evalrun.errors import ConfigError
    from pytest_evalrun.suite.discovery import discover
    from pytest_evalrun.suite.printable import printable

    try:
        suite = discover(file)
    except ConfigError:
        return  # told when it is collected
    for data in suite.protected:
        if directory.is_relative_to(data):
            told = f"{directory}: this is data of {file}, and nothing in it is a test; give that file, choose with -k"
            raise pytest.UsageError(printable(told))


def suite_files(config: pytest.Config) -> Iterator[Path]:
    """For ``-n auto``, which must be answered before anything is collected: suites above and below what was named."""
    skipped = config.getini("norecursedirs")
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        yield from (found for parent in path.parents if _is_suite(found := parent / SUITE_FILE))
        for directory, names, files in os.walk(path if path.is_dir() else path.parent):
            if SUITE_FILE in files and _is_suite(found := Path(directory, SUITE_FILE)):
                yield found
                names.clear()  # what is below may be data
            names[:] = [name for name in names if not any(fnmatch.fnmatch(name, word) for word in skipped)]


def _is_suite(path: Path) -> bool:
    """Nothing is imported where there is no such file."""
    if not path.is_file():
        return False
    revive_imports()
    from pytest_evalrun.suite.foreign import is_suite

    return is_suite(str(path))


def _told(choose: Callable[[], list[str]]) -> str:
    from pytest_evalrun.errors import ConfigError

    try:
        return json.dumps({"selected": choose()})
    except ConfigError as error:
        return json.dumps({"error": str(error)})


def _published_name(file: str) -> str:
    import hashlib

    return f"suite-{hashlib.sha256(file.encode()).hexdigest()[:24]}.json"


def _thaw(content: dict[str, Any]) -> Suite:
    from pytest_evalrun.suite.published import load

    return load(content["suite"])[0]


def _clashes(suites: Iterable[Suite]) -> list[str]:
    first: dict[str, Suite] = {}
    problems = []
    for suite in suites:
        other = first.setdefault(suite.name.casefold(), suite)
        if other is not suite:
            problems.append(
                f"{suite.file}: name: {suite.name!r} is already the name of {other.file}; "
                "give one of them another `name:`"
            )
    return problems
