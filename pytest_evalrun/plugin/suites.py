"""Discovery for pytest: which suites there are, found by one process of a launch and published for all others."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.collectors import SUITE_FILE
from pytest_evalrun.plugin.internals import do_not_rewrite
from pytest_evalrun.plugin.launch import LAUNCHER, LaunchDir, Notice, keep_imports, revive_imports
from pytest_evalrun.plugin.options import Options, read_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_evalrun.suite.pairs import Pair, Suite

CUTTING = ("shards", "shard_size")
GPUS_MARKER = "gpus(count=1, memory=0, per_gpu=1): what the fixture `gpus` leases for a test; memory in GB for each"


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip(os.sep)}{os.sep}")


class Suites:
    """The suites of this process, found as pytest comes by them. Costs one ``stat`` a directory until the first.

    ``switch_on`` registers everything else, and is called when that first one is found.
    """

    def __init__(self, config: pytest.Config, switch_on: Callable[[Suites], None]) -> None:
        self.config = config
        self._switch_on = switch_on
        given = getattr(config, "workerinput", {}).get("evalrun_launch")
        self.launch = LaunchDir(Path(given) if given else None)
        self.notice = Notice(config, self.launch)
        self.found: dict[str, Suite] = {}
        self.errors: dict[str, str] = {}
        self.foreign: dict[str, str] = {}
        self._roots: dict[str, str | None] = {}
        self._workdir: str | None = None
        self._protected: set[str] = set()
        self._options: Options | None = None

    @property
    def options(self) -> Options:
        if self._options is None:
            self._options = read_options(self.config)
        return self._options

    @property
    def active(self) -> bool:
        """True once any suite was found, broken ones included."""
        return bool(self.found or self.errors)

    def enter(self, path: Path) -> bool:
        """Note a directory that pytest is about to collect; True where it must not, because it holds data."""
        directory = os.fspath(path)
        root = self._root_of(directory)
        # pytest looks at the neighbours of what it was asked for, too, though it collects nothing of them.
        if root is not None and any(_within(directory, asked) or _within(asked, directory) for asked in self._asked):
            self.load(os.path.join(root, SUITE_FILE))  # noqa: PTH118 - paths stay strings: this runs per directory
        return directory in self._protected or self._is_run(directory)

    def _is_run(self, directory: str) -> bool:
        """Say whether a directory is a run; what else lies in the work directory is not ours."""
        workdir, name = os.path.split(directory)
        if workdir != self._workdir:
            return False
        from pytest_evalrun.rundir.layout import WorkDir

        return WorkDir(Path(workdir)).run(name).run_json.exists()

    @cached_property
    def _asked(self) -> tuple[str, ...]:
        """The paths of the command line; with ``--pyargs`` they may be names of packages, and all is asked for."""
        if self.config.option.pyargs:
            return (os.sep,)
        here = self.config.invocation_params.dir
        return tuple(os.path.abspath(here / arg.partition("::")[0]) for arg in self.config.args)  # noqa: PTH100 - as above

    def is_foreign(self, path: Path) -> bool:
        """Say whether an evalrun.yaml is none of ours."""
        self.load(str(path))
        return str(path) in self.foreign

    def is_root(self, path: Path) -> bool:
        """Say whether a directory holds a suite."""
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
            self._prepare_imports()
            discovered: list[Suite] = []
            from pytest_evalrun.suite.published import published_name

            text = self.launch.once(published_name(file), lambda: self._discover(file, discovered))
            self._accept(file, {} if discovered else json.loads(text), *discovered)
        return self.found.get(file)

    def _prepare_imports(self) -> None:
        """Prepare for the first import of anything of the lower floor.

        Our modules need no rewritten asserts, and where no bytecode is written rewriting costs a second a process.
        """
        do_not_rewrite(self.config, "pytest_evalrun")
        revive_imports()

    def _accept(self, file: str, content: dict[str, Any], suite: Suite | None = None) -> None:
        """Take in what was published of a file; ``suite`` where this process has just discovered it."""
        if "foreign" in content and file not in self._asked:
            self._pass_over(file, content["foreign"])
            return
        self._activate()
        content |= {"error": content["foreign"]} if "foreign" in content else {}
        if "error" in content:
            self.errors[file] = content["error"]
            return
        if suite is None:
            from pytest_evalrun.suite.published import load

            (suite,) = load(content["suite"])
        self.found[file] = suite
        self._protected.update(suite.protected)
        for tag in sorted({tag for pair in suite.pairs for tag in pair.tags}):
            self.config.addinivalue_line("markers", f"{tag}: a tag of suite {suite.name}")

    def _discover(self, file: str, discovered: list[Suite]) -> str:
        if (text := self._handed(file)) is not None:
            return text
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
            return json.dumps({"file": file, "error": str(error)})
        discovered.append(suite)
        # Nobody reads what a process publishes that has no workers; of 10,000 pairs that is a megabyte.
        return json.dumps({"file": file} | ({} if self._is_alone else {"suite": dump([suite])}))

    def _handed(self, file: str) -> str | None:
        """What the launch of a job has found: its settings need not be put together again where no file changed."""
        if (job := self.options.cluster.job) is None:
            return None
        from pytest_evalrun.rundir.enginepaths import AttemptPaths
        from pytest_evalrun.suite.published import handed, published_name

        return handed(AttemptPaths(job.parent).suites / published_name(file), file)

    @property
    def _is_alone(self) -> bool:
        """Say whether this process has no workers, and is none: xdist may be missing, or ``-n`` not given."""
        option = self.config.getoption
        return not (hasattr(self.config, "workerinput") or option("numprocesses", None) or option("tx", None))

    @property
    def sources(self) -> tuple[str, ...]:
        """The runs whose predictions a job may take over, the best first."""
        if (file := self.options.cluster.job) is None:
            return ()
        from pytest_evalrun.rundir.jobfiles import JobFile

        return JobFile.read(file).sources

    def _pass_over(self, file: str, reason: str) -> None:
        """Leave what is below to the suite above, as if the file were not there; the file is named at the end."""
        self.foreign[file] = reason
        directory = os.path.dirname(file)  # noqa: PTH120 - as above
        self._roots[directory] = self._roots.get(os.path.dirname(directory))  # noqa: PTH120 - as above

    def _cut(self, suite: Suite) -> Suite:
        """Only where something is cut is data looked at before the run."""
        if not any(layer.values.get(word) for pair in suite.pairs for layer in pair.layers for word in CUTTING):
            return suite
        from pytest_evalrun.evaluation.cuts import cut_suite

        return cut_suite(suite, self.hashes)

    @property
    def hashes(self) -> Path:
        """The cache of hashes: a job's is of this host alone, for a database on a shared disk may be torn."""
        from pytest_evalrun.rundir.layout import WorkDir

        return WorkDir(self.launch.path if self.options.cluster.job else self.options.workdir).hashes

    def _activate(self) -> None:
        """The first suite switches everything else on."""
        if self.active or self.config.pluginmanager.has_plugin("evalrun-items"):
            return
        self.notice.begun(self.options)
        self._workdir = os.path.normpath(self.options.workdir)
        self.config.addinivalue_line("markers", GPUS_MARKER)
        self._switch_on(self)

    def pairs_of(self, ids: Iterable[str], told: Mapping[str, str]) -> dict[str, Pair]:
        """Node id → pair, where ``told`` is what whoever has the items said of them: node id → full id of the pair."""
        items = (item for suite in self.found.values() for pair in suite.pairs for item in (*pair.shards(), pair))
        known = {item.full_id: item for item in items}
        return {nodeid: pair for nodeid in ids if (pair := known.get(told.get(nodeid, ""))) is not None}

    def selected(self, choose: Callable[[], list[str]]) -> set[str]:
        """Decided once a launch: a replacement for a crashed worker must see the same items."""
        content = json.loads(self.launch.once("selection.json", lambda: _told(choose)))
        self._note_error("--eval-only", content)
        return set(content.get("selected", ()))

    def _note_error(self, key: str, content: dict[str, Any]) -> None:
        if "error" in content:
            self.errors[key] = content["error"]

    def read_published(self) -> None:
        """Read what workers found on the controller, which collects nothing; also suites that are broken.

        Asked for once a worker: what was read before is not read again.
        """
        if not self.launch.path.is_dir():
            return
        self._prepare_imports()
        from pytest_evalrun.suite.published import published_name

        known = {published_name(file) for file in (*self.found, *self.errors, *self.foreign)}
        for path in sorted(self.launch.path.glob("suite-*.json")):
            if path.name in known:
                continue
            content = json.loads(path.read_text(encoding="utf-8"))
            if "error" in content:
                self.errors[content["file"]] = content["error"]
            else:
                self._accept(content["file"], content)
        self._note_error("--eval-only", json.loads(self.launch.read("selection.json") or "{}"))

    def raise_errors(self) -> None:
        """Everything that is wrong with any suite, as one usage error."""
        if problems := [*self.errors.values(), *_clashes(self.found.values())]:
            from pytest_evalrun.suite.printable import printable

            # What a command line or the environment says is wrong for every suite alike.
            lines = dict.fromkeys(line for problem in problems for line in problem.split("\n"))
            raise pytest.UsageError(printable("\n".join(lines)))

    def tell(self, node: Any) -> None:
        """Hand a worker what it must know before it has found a suite."""
        node.workerinput["evalrun_launch"] = str(self.launch.path)
        node.workerinput[LAUNCHER] = os.getpid()
        # Our scheduler takes over once a pair is found, but where the user asked for another one.
        alone = len(self.config.hook.pytest_xdist_make_scheduler.get_hookimpls()) == 1
        node.workerinput["evalrun_loop"] = self.config.getoption("dist") == "load" and alone and self.options.scheduler
        node.workerinput["evalrun_refused"] = self.refused

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
            self.notice.over()
            self.launch.remove()


suites_key = pytest.StashKey[Suites]()


def _told(choose: Callable[[], list[str]]) -> str:
    from pytest_evalrun.errors import ConfigError

    try:
        return json.dumps({"selected": choose()})
    except ConfigError as error:
        return json.dumps({"error": str(error)})


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
