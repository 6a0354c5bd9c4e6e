"""Every path of a work directory and of a run, as a property; nobody else joins them."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.suite.pairs import Cut, Pair, PairKey


@dataclass(frozen=True)
class WorkDir:
    """The directory above the runs: what outlives each of them."""

    root: Path

    @property
    def history(self) -> Path:
        return self.root / "history.jsonl"

    @property
    def hashes(self) -> Path:
        return self.root / "hashes.db"

    @property
    def latest(self) -> Path:
        return self.root / "latest"

    @property
    def gitignore(self) -> Path:
        return self.root / ".gitignore"

    @property
    def task_lock(self) -> Path:
        """It exists only where the place of this lock in the system's temporary directory is not to be trusted."""
        return self.root / "task_list.lock"

    def run(self, name: str) -> RunPaths:
        return RunPaths(self.root / name)


@dataclass(frozen=True)
class RunPaths:
    """A run directory: everything that one evaluation produced, and all that is needed to carry on.

    Each path is made once, for they are asked for again and again.
    """

    root: Path

    @cached_property
    def run_json(self) -> Path:
        return self.root / "run.json"

    @cached_property
    def task_list(self) -> Path:
        return self.root / ".task_list"

    @cached_property
    def main_pid(self) -> Path:
        return self.root / ".main_pid"

    @cached_property
    def running_pids(self) -> Path:
        return self.root / ".running_pids"

    @cached_property
    def failed_tasks(self) -> Path:
        return self.root / "failed_tasks.txt"

    @cached_property
    def main_log(self) -> Path:
        return self.root / "task_run.log"

    @cached_property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @cached_property
    def session_lock(self) -> Path:
        return self.root / "session.lock"

    @cached_property
    def members_lock(self) -> Path:
        return self.root / "members.lock"

    @cached_property
    def session_json(self) -> Path:
        return self.root / "session.json"

    @cached_property
    def stop_json(self) -> Path:
        """It says who asked the session to stop, and exists until it has."""
        return self.root / ".stop.json"

    @cached_property
    def processes_dir(self) -> Path:
        return self.root / "processes"

    @cached_property
    def configs(self) -> Path:
        return self.root / "configs"

    @cached_property
    def costs(self) -> Path:
        """The directory of what answers of endpoints cost, a file a worker."""
        return self.root / "costs"

    @cached_property
    def results(self) -> Path:
        return self.root / "results"

    @cached_property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @cached_property
    def agents(self) -> Path:
        return self.root / "agents"

    @cached_property
    def summary(self) -> Path:
        return self.root / "summary"

    @cached_property
    def report(self) -> Path:
        """The page of the run."""
        return self.summary / "report.html"

    def worker_events(self, worker: str) -> Path:
        return self.root / "events" / f"{worker}.jsonl"

    def processes(self, worker: str) -> Path:
        return self.processes_dir / f"{worker}.jsonl"

    def pair(self, key: PairKey) -> PairPaths:
        return PairPaths(self.root, key)

    def shard(self, key: PairKey, cut: Cut) -> ShardPaths:
        return ShardPaths(self.root, key, cut)


@dataclass(frozen=True)
class PairPaths:
    """The files of one pair in a run; each path is made once, for they are asked for again and again."""

    run: Path
    key: PairKey

    @cached_property
    def _place(self) -> str:
        return f"{self.key.suite}/{self.key.task}/{self.key.dataset}"

    @cached_property
    def state(self) -> Path:
        return self.run / f"state/{self._place}.state"

    @cached_property
    def marker(self) -> Path:
        return self.run / f"state/{self._place}.complete.state"

    @property
    def complete(self) -> tuple[str, ...]:
        """The marker and all that one may vouch for, as text: there may be 10,000 pairs to look at."""
        run, place = os.fspath(self.run), self._place
        predictions = f"{run}/predictions/{place}"
        return (
            f"{run}/state/{place}.complete.state",
            f"{predictions}.jsonl",
            f"{run}/results/{place}.json",
            f"{predictions}.scores.jsonl",
        )

    @cached_property
    def lock(self) -> Path:
        return self.run / f"state/{self.key.suite}/{self.key.task}/.{self.key.dataset}.lock"

    @cached_property
    def infer_log(self) -> Path:
        return self.run / f"logs/infer/{self._place}.log"

    @cached_property
    def eval_log(self) -> Path:
        return self.run / f"logs/eval/{self._place}.log"

    @cached_property
    def predictions(self) -> Path:
        return self.run / f"predictions/{self._place}.jsonl"

    @cached_property
    def fingerprint(self) -> Path:
        return self.run / f"predictions/{self._place}.fingerprint.json"

    @cached_property
    def scores(self) -> Path:
        return self.run / f"predictions/{self._place}.scores.jsonl"

    @cached_property
    def judged_verdicts(self) -> Path:
        """What the judge of the pair said; of several there is a file each in :attr:`judged_directory`."""
        return self.run / f"predictions/{self._place}.judged.jsonl"

    @cached_property
    def judged_fingerprint(self) -> Path:
        return self.run / f"predictions/{self._place}.judged.json"

    @cached_property
    def judged_directory(self) -> Path:
        return self.run / f"predictions/{self._place}.judged"

    def judged(self, judge: str | None) -> JudgedPaths:
        """The files of a judge: of the only one, or of one among several by its safe name."""
        return JudgedPaths(self.run, self.key, judge)

    @cached_property
    def outputs(self) -> Path:
        return self.run / f"outputs/{self._place}"

    @cached_property
    def agent_directory(self) -> Path:
        """The directory of the files that are kept in AgentBench's formats, of an agent and its task."""
        return self.run / f"agents/{self._place}"

    @property
    def agent(self) -> AgentPaths:
        """The files in it."""
        return AgentPaths(self.agent_directory)

    @cached_property
    def result(self) -> Path:
        return self.run / f"results/{self._place}.json"

    @cached_property
    def fragment(self) -> Path:
        """What the page of the run tells of the pair; made from its files, and made again where it is missing."""
        return self.run / f"results/{self._place}.fragment"

    @cached_property
    def programs(self) -> Path:
        """The directory of what programs were asked for this pair; its shards share it."""
        return self.run / f"shards/{self._place}"

    def worker_args(self, low: int, high: int) -> Path:
        """It says what the program of a range was started with, and what became of it."""
        return self.programs / f"worker_args_{low}_{high}.json"

    @property
    def args(self) -> Path:
        return self.programs / "args.json"

    @property
    def scheduler_config(self) -> Path:
        return self.programs / "scheduler_config.json"

    @property
    def programs_lock(self) -> Path:
        return self.programs / ".lock"

    @property
    def program_files(self) -> Path:
        """Files of ours that programs are given, and rows of theirs that were kept."""
        return self.programs / "files"

    def test_result(self, test: str) -> Path:
        """A user's own test function leaves there what it recorded."""
        return self.run / f"results/{self._place}/{test}.json"

    @property
    def whole(self) -> PairPaths:
        """The files of the pair: of a shard those that it shares with the others."""
        return self

    @cached_property
    def shard_predictions(self) -> Path:
        """The directory of the predictions that shards make; gathered by their pair."""
        return self.run / f"predictions/{self._place}"

    @cached_property
    def shard_states(self) -> Path:
        return self.run / f"state/{self._place}"


@dataclass(frozen=True)
class ShardPaths(PairPaths):
    """The files of one shard: what it writes while it runs is its own, everything else its pair's.

    What people look at is called by the label, predictions by positions: so others know whose samples they are.
    """

    cut: Cut

    @cached_property
    def whole(self) -> PairPaths:
        return PairPaths(self.run, self.key)

    @cached_property
    def state(self) -> Path:
        return self.shard_states / f"{self.cut.label}.state"

    @cached_property
    def infer_log(self) -> Path:
        return self.run / f"logs/infer/{self._place}/{self.cut.label}.log"

    @cached_property
    def lock(self) -> Path:
        return self.shard_states / f".{self.cut.label}.lock"

    @cached_property
    def predictions(self) -> Path:
        return self.shard_predictions / f"{self.cut.low}-{self.cut.high}.jsonl"


@dataclass(frozen=True)
class AgentPaths:
    """The files of an agent and its task that AgentBench has too, by AgentBench's names, and who has which sample."""

    directory: Path

    @property
    def runs(self) -> Path:
        return self.directory / "runs.jsonl"

    @property
    def errors(self) -> Path:
        return self.directory / "error.jsonl"

    @property
    def overall(self) -> Path:
        return self.directory / "overall.json"

    @property
    def config(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def sessions(self) -> Path:
        """The sessions that are under way; it exists only while the pair is being asked."""
        return self.directory / "sessions.json"


@dataclass(frozen=True)
class JudgedPaths(PairPaths):
    """The files of one judge of a pair: its verdicts are predictions of its own, everything else is the pair's."""

    judge: str | None

    @cached_property
    def predictions(self) -> Path:
        return self.judged_verdicts if self.judge is None else self.judged_directory / f"{self.judge}.jsonl"

    @cached_property
    def fingerprint(self) -> Path:
        return self.judged_fingerprint if self.judge is None else self.judged_directory / f"{self.judge}.json"

    @cached_property
    def known_verdicts(self) -> Path:
        """Verdicts on what the answers, or the question to the judge, were before."""
        return self.predictions.with_name(f"{self.predictions.name}.stale")

    def all_verdicts(self) -> list[Path]:
        """Every file of verdicts on this pair, its own first.

        It may have been the only judge, or one of several; and its first samples may have been judged before.
        """
        whole = PairPaths(self.run, self.key.full)
        limits = f"{glob.escape(whole.key.dataset)}.limit-*.judged"
        places = [self.judged_directory, whole.judged_directory, *sorted(self.predictions_directory.glob(limits))]
        files = [self.predictions, self.known_verdicts]
        for known in (self.judged_verdicts, whole.judged_verdicts, *self.predictions_directory.glob(f"{limits}.jsonl")):
            files += [known, known.with_name(f"{known.name}.stale")]
        for place in places:
            files += sorted(place.glob("*.jsonl*")) if place.is_dir() else []
        return [path for path in dict.fromkeys(files) if path.is_file()]

    @property
    def predictions_directory(self) -> Path:
        """Where the predictions of the task lie."""
        return self.judged_verdicts.parent


def key_of(pair: Pair) -> PairKey:
    """Where the files of a pair lie; a limited evaluation has files of its own and never replaces a full result."""
    return pair.key.limited(pair.peek("limit"))


def paths_of(run: RunPaths, pair: Pair) -> PairPaths:
    """The files of a pair, or of a shard."""
    return run.pair(key_of(pair)) if pair.cut is None else run.shard(key_of(pair), pair.cut)
