"""A Slurm of four nodes on this machine, the suite `digits` on it, and whether that went as it must.

    make evals-slurm
    python evals/slurm/cluster.py up        only the cluster, until Ctrl-C, to try things by hand

It is a real Slurm: a controller and four slurmd, that listen on the loopback address alone and start real jobs. All of
it ends with this program, however it ends. Runs are left in `outputs/slurm/` to be looked at. The exit code is 0 where
everything held.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fournodes import NODES, NotInstalled, Slurm
from shows import MOST_SECONDS, ROOT, Run, Verdict, differences, shown

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack

SUITE = Path("evals", "digits")
RUNS = Path("outputs", "slurm")
PAIRS, SAMPLES = 9, 300
# One sample a batch, so that a pair takes seconds and has a middle.
SLOWLY = ("--eval-batch-size", "1")
# Units of one pair, each of which has a node to itself.
ON_SLURM = ("--eval-engine", "slurm", "--eval-jobs", "4", "--eval-unit-minutes", "0.05", "--eval-slurm=--exclusive")
# A pair is in its middle when so many samples are answered.
FEW, MANY = 50, 250


def main() -> int:
    def show(until_the_end: ExitStack) -> int:
        cluster = Show(until_the_end.enter_context(Slurm()))
        return cluster.cluster_only() if sys.argv[1:] == ["up"] else cluster.all()

    return shown("evals/slurm", show, NotInstalled, "the cluster is ended, and its jobs")


# --- what a run tells -------------------------------------------------------------------------------------------------


class SlurmRun(Run):
    """A run of the suite, by the name of its work directory."""

    def __init__(self, name: str, *args: str, env: Mapping[str, str], named: str | None = None) -> None:
        super().__init__(SUITE, RUNS / name, [*args, *SLOWLY], env, named)

    def results(self) -> dict[str, dict[str, str]]:
        """All that the summary says of each pair and metric, but for how long it took."""
        named = {f"{row['task']}/{row['dataset']} {row['metric']}": row for row in self.rows()}
        return {name: {key: row[key] for key in row if key != "seconds"} for name, row in named.items()}

    def repeated(self) -> list[str]:
        """Pairs that history has more than once, or not at all."""
        lines = (ROOT / self.workdir / "history.jsonl").read_text(encoding="utf-8").splitlines()
        times = Counter(json.loads(line)["pair"] for line in lines)
        told = [f"{pair} is there {count} times" for pair, count in times.items() if count > 1]
        return told + ([f"{len(times)} of {PAIRS} pairs are there"] if len(times) != PAIRS else [])

    def under_way(self) -> Iterator[PairAtWork]:
        """Pairs of jobs of which something is predicted, where the launch knows on which node."""
        found = [*(self.directory / "engine").glob("u*/[0-9]*/predictions/*/*/*.jsonl")]
        nodes = self._nodes() if found else {}
        for file in found:
            unit, attempt, _, *pair = file.relative_to(self.directory / "engine").with_suffix("").parts
            if node := nodes.get((unit, int(attempt))):
                reports = self.directory / "engine" / unit / attempt / "reports.jsonl"
                begun = json.loads(reports.read_bytes().partition(b"\n")[0])
                yield PairAtWork("/".join(pair), node, begun["pid"], file)

    def _nodes(self) -> dict[tuple[str, int], str]:
        units = json.loads((self.directory / "engine" / "jobs.json").read_text(encoding="utf-8"))["units"]
        return {
            (name, attempt["number"]): attempt["node"]
            for name, unit in units.items()
            for attempt in unit["attempts"]
            if attempt["phase"] == "running"
        }


@dataclass(frozen=True)
class PairAtWork:
    """A pair in a job, on a node: the process that predicts, and its predictions as they come."""

    pair: str
    node: str
    pid: int
    file: Path

    @property
    def answered(self) -> int:
        return self.file.read_bytes().count(b"\n") if self.file.is_file() else 0


# --- what must hold ---------------------------------------------------------------------------------------------------


def resumed(run: SlurmRun, lost: PairAtWork, answered: int) -> list[str]:
    """Whether the next job began where the lost one was: at the samples that had been answered."""
    found = re.search(rf"^PASSED  {re.escape(lost.pair)} .*resumed at (\d+) of {SAMPLES}", run.text, re.MULTILINE)
    if found is None:
        return [f"{lost.pair} was not resumed; see {run.log}"]
    return [] if int(found[1]) == answered else [f"{lost.pair} was resumed at {found[1]}, not at {answered}"]


def reused(run: SlurmRun) -> list[str]:
    lines = [line for line in run.text.splitlines() if line.startswith("PASSED")]
    anew = [line for line in lines if "(reused: " not in line]
    return anew or ([] if len(lines) == PAIRS else [f"{len(lines)} of {PAIRS} pairs passed"])


def left_over(slurm: Slurm, seconds: float = 30.0) -> list[str]:
    """Jobs that are there although nobody waits for them; one that has ended needs a moment to leave."""
    deadline = time.monotonic() + seconds
    while (jobs := slurm.squeue("-r", "-o", "%i %T").splitlines()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return jobs


@dataclass
class Show(Verdict):
    """Step by step."""

    slurm: Slurm

    def all(self) -> int:
        shutil.rmtree(ROOT / RUNS, ignore_errors=True)
        self.introduce()
        here = self.here()
        self.lose_one(here)
        self.again(here)
        return self.told()

    def introduce(self) -> None:
        print(f"{', '.join(NODES)}: nodes of a Slurm on this machine, SLURM_CONF={self.slurm.conf}")

    def cluster_only(self) -> NoReturn:
        self.introduce()
        print(f"\nIn another terminal: export SLURM_CONF={self.slurm.conf}")
        print(f"Then `pytest {SUITE} --eval-engine slurm`, or `sinfo` and `squeue`; Ctrl-C ends the cluster")
        sys.stdout.flush()
        while True:
            signal.pause()

    def here(self) -> dict[str, dict[str, str]]:
        print("\n1. On this machine, without the cluster", flush=True)
        run = SlurmRun("here", "-n", "2", env={})
        problems = run.through()
        results = {} if problems else run.results()
        self.holds("all pairs passed", problems or ([] if results else ["there are no results"]))
        return results

    def lose_one(self, here: Mapping[str, Mapping[str, str]]) -> None:
        print("\n2. The same on Slurm, and one node loses its power in the middle", flush=True)
        run = SlurmRun("slurm", *ON_SLURM, env=self.slurm.env)
        with run.started() as process:
            lost = self.kill_one(run, process)
            answered = lost.answered if lost else 0
            if lost:
                print(f"  {lost.node} lost its power while it had {lost.pair}, {answered} of {SAMPLES} answered")
            problems = run.ended(process)
        print(*(f"  it said: {line}" for line in run.text.splitlines() if " was lost " in line), sep="\n")
        half = 0 < answered < SAMPLES
        self.holds("a node was lost with a pair half done", [] if half else ["none had one"])
        self.holds("all pairs passed", problems)
        if not problems and lost and half:
            self.holds("the pair went on where it was, in another job", resumed(run, lost, answered))
        self.judge(run, here, problems)

    def again(self, here: Mapping[str, Mapping[str, str]]) -> None:
        print("\n3. The same command again", flush=True)
        before = self.slurm.jobs()
        run = SlurmRun("slurm", *ON_SLURM, env=self.slurm.env, named="again")
        problems = run.through()
        self.holds("all pairs were reused", problems or reused(run))
        self.holds("no job was submitted", sorted({*self.slurm.jobs()} - {*before}))
        self.judge(run, here, problems)

    def judge(self, run: SlurmRun, here: Mapping[str, Mapping[str, str]], problems: Sequence[str]) -> None:
        if not problems:
            same = "summary.csv is that of this machine, but for the seconds"
            self.holds(same, differences(here, run.results()))
            self.holds("no pair is twice in history.jsonl", run.repeated())
        self.holds("no job is left", left_over(self.slurm))

    def kill_one(self, run: SlurmRun, process: subprocess.Popen[bytes]) -> PairAtWork | None:
        """Take the power from the first node that has a pair of which a few samples are answered."""
        deadline = time.monotonic() + MOST_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            for one in run.under_way():
                if FEW <= one.answered <= MANY:
                    # Finding all that runs on a node takes longer than a pair, and a power cut takes no time at all.
                    os.kill(one.pid, signal.SIGSTOP)
                    self.slurm.kill_node(one.node)
                    return one
            time.sleep(0.005)
        return None


if __name__ == "__main__":
    sys.exit(main())
