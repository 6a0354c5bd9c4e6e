"""Three boards on this machine, the suite beside this file on them, and whether that went as it must.

    make evals-board
    python evals/board/boards.py up         only the boards, until Ctrl-C, to try things by hand

A board is a real sshd on the loopback address that devices.yaml names, with throw-away keys and a home of its own below
`.boards/`; what is sent there goes through SSH as it would to any other machine. All of them end with this program,
however it ends. Runs are left in `outputs/boards/` to be looked at. The exit code is 0 where everything held.
"""

from __future__ import annotations

import csv
import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sshds import Board, Trouble, start_boards

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    # By model and board.
    Uploads = Mapping[tuple[str, str], int]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUNS = ROOT / "outputs" / "boards"
SUITE = HERE.relative_to(ROOT)
# A run takes seconds; one that does not end has failed, too.
MOST_SECONDS = 300
FEW_BATCHES = 2


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with ExitStack() as until_the_end:
            try:
                show = Show(start_boards(until_the_end))
                return show.boards_only() if sys.argv[1:] == ["up"] else show.all()
            finally:
                _deaf()
    except KeyboardInterrupt:
        print("\ninterrupted: all boards are ended", flush=True)
        return 130
    except Trouble as trouble:
        print(f"evals/board: {trouble}", file=sys.stderr)
        return 1


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _deaf() -> None:
    """Somebody who presses Ctrl-C twice shall not leave a board behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


# --- runs -------------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A pytest on the suite, in a work directory of its own; what it writes is in a log beside that."""

    name: str
    args: Sequence[str]
    _process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> Path:
        return RUNS / self.name / "latest"

    @property
    def log(self) -> Path:
        return RUNS / f"{self.name}.log"

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """Ended with the block, gently at first."""
        words = ["pytest", str(SUITE), *self.args, "--eval-workdir", str((RUNS / self.name).relative_to(ROOT))]
        print(f"$ {shlex.join(words)}", flush=True)
        RUNS.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=log, stderr=log)  # noqa: S603
        try:
            yield process
        finally:
            end(process)

    def ended(self, process: subprocess.Popen[bytes]) -> list[str]:
        """What went wrong with pytest itself."""
        try:
            code = process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"it did not end within {MOST_SECONDS} s; see {self.log}"]
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        print(f"  {lines[-1].strip('= ') if lines else 'no output'}")
        return [f"exit code {code}; the end of {self.log}:\n" + "\n".join(lines[-30:])] if code else []

    def results(self) -> dict[str, tuple[str, ...]]:
        """Status, metric and value of each pair."""
        with (self.directory / "summary" / "summary.csv").open(newline="", encoding="utf-8") as file:
            rows = [*csv.DictReader(file)]
        return {f"{row['task']}/{row['dataset']}": (row["status"], row["metric"], row["value"]) for row in rows}

    def uploads(self) -> Uploads:
        with (self.directory / "events.jsonl").open(encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
        return Counter((event["model"], event["device"]) for event in events if event["event"] == "uploaded")

    def done(self, pair: str) -> int:
        """How many answers of a pair are kept by now."""
        task, _, dataset = pair.partition("/")
        file = self.directory / "predictions" / "board" / task / f"{dataset}.jsonl"
        return file.read_bytes().count(b"\n") if file.is_file() else 0


def end(process: subprocess.Popen[bytes]) -> None:
    """By Ctrl-C of the terminal it was told already, and needs a moment to tidy up."""
    if process.poll() is None:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- what must hold ---------------------------------------------------------------------------------------------------


def repeated(uploads: Uploads) -> list[str]:
    return [f"{model} went to {board} {count} times" for (model, board), count in uploads.items() if count > 1]


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    pairs = sorted({*here, *there})
    return [
        f"{pair}: here {here.get(pair)}, there {there.get(pair)}" for pair in pairs if here.get(pair) != there.get(pair)
    ]


def left_over(boards: Iterable[Board]) -> list[str]:
    return [f"{board.name}: {', '.join(left)}" for board in boards if (left := board.left())]


def table(uploads: Uploads, boards: Sequence[Board]) -> str:
    models = sorted({model for model, _ in uploads})
    rows = [("model", *(board.name for board in boards))]
    rows += [(model, *(str(uploads.get((model, board.name), 0)) for board in boards)) for model in models]
    return "\n".join(f"  {row[0]:18}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in rows)


@dataclass
class Show:
    """Step by step, with a line for each thing that must hold."""

    boards: list[Board]
    broken: list[str] = field(default_factory=list)

    def all(self) -> int:
        shutil.rmtree(RUNS, ignore_errors=True)
        self.introduce()
        here = self.here()
        self.on_boards(here)
        self.cut_off(here)
        print(f"\n{len(self.broken)} things did not hold" if self.broken else "\neverything held")
        return 1 if self.broken else 0

    def boards_only(self) -> NoReturn:
        self.introduce()
        print(f"\nTry `pytest {SUITE} -n 3` or `evalrun devices {SUITE}` in another terminal; Ctrl-C ends the boards")
        sys.stdout.flush()
        while True:
            signal.pause()

    def introduce(self) -> None:
        me = pwd.getpwuid(os.geteuid()).pw_name
        for board in self.boards:
            print(f"{board.name}: sshd for {me} at {board.host}:{board.port}, home {board.home.relative_to(ROOT)}")

    def holds(self, what: str, problems: Sequence[str]) -> None:
        print(f"  {'NO ' if problems else 'yes'}  {what}", *problems, sep="\n       ", flush=True)
        self.broken += problems

    def here(self) -> dict[str, tuple[str, ...]]:
        print("\n1. Without a board, the same program on this machine", flush=True)
        # Neighbouring suites have no program that this adapter could start.
        run = Run("here", ["--eval-set", "adapter=command", "--confcutdir", str(SUITE), "-n", "2"])
        problems, results = self.through(run)
        self.holds("all pairs passed", problems or ([] if results else ["there are no results"]))
        return results

    def through(self, run: Run) -> tuple[list[str], dict[str, tuple[str, ...]]]:
        with run.started() as process:
            problems = run.ended(process)
        return problems, {} if problems else run.results()

    def on_boards(self, here: Mapping[str, Any]) -> None:
        print("\n2. On three boards, with five workers", flush=True)
        run = Run("boards", ["-n", "5"])
        problems, results = self.through(run)
        self.holds("all pairs passed", problems)
        if problems:
            return
        self.judge(run, here, results)
        self.holds("no work directory is left on any board", left_over(self.boards))

    def judge(self, run: Run, here: Mapping[str, Any], results: Mapping[str, Any]) -> None:
        uploads = run.uploads()
        print("  how often each model was uploaded to each board:", table(uploads, self.boards), sep="\n")
        self.holds("no model went to a board twice", repeated(uploads) if uploads else ["no model was uploaded"])
        self.holds(f"the {len(here)} results are those of this machine", differences(here, results))

    def cut_off(self, here: Mapping[str, Any]) -> None:
        print("\n3. Again, and one board loses its power in the middle", flush=True)
        run = Run("cut", ["-n", "5"])
        with run.started() as process:
            lost = self.cut_one(run, process, here)
            problems = run.ended(process)
        self.holds("a board was cut off with a pair half done", [] if lost else ["pytest ended before"])
        self.holds("all pairs passed", problems)
        if problems or not lost:
            return
        self.judge(run, here, run.results())
        left = [board for board in self.boards if board is not lost]
        self.holds("no work directory is left on the other boards", left_over(left))

    def cut_one(self, run: Run, process: subprocess.Popen[bytes], here: Iterable[str]) -> Board | None:
        """The first board that has a pair of which a few batches are done, and a few are not."""
        pairs = {f"task_{pair.replace('/', '_')}": pair for pair in here}
        deadline = time.monotonic() + MOST_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            for board in self.boards:
                for pair in (pairs[name] for name in board.left() if name in pairs):
                    if FEW_BATCHES * 16 <= run.done(pair) <= 100 - FEW_BATCHES * 16:
                        board.stop()
                        print(f"  {board.name} is cut off while it has {pair}, {run.done(pair)} of 100 answered")
                        print("  the others go on; the pair is given to one of them when it does not come back")
                        sys.stdout.flush()
                        return board
            time.sleep(0.005)
        return None


if __name__ == "__main__":
    sys.exit(main())
