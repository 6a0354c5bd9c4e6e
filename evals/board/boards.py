"""Three boards on this machine, the suite beside this file on them, and whether that went as it must.

    make evals-board
    python evals/board/boards.py up         only the boards, until Ctrl-C, to try things by hand

A board is a real sshd on the loopback address that devices.yaml names, with throw-away keys and a home of its own below
`.boards/`; what is sent there goes through SSH as it would to any other machine. All of them end with this program,
however it ends. Runs are left in `outputs/boards/` to be looked at. The exit code is 0 where everything held.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shows import MOST_SECONDS, ROOT, Run, Verdict, differences, shown
from sshds import Board, Trouble, start_boards

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import ExitStack

    # By model and board.
    Uploads = Mapping[tuple[str, str], int]

RUNS = ROOT / "outputs" / "boards"
SUITE = Path(__file__).resolve().parent.relative_to(ROOT)
FEW_BATCHES = 2


def main() -> int:
    def show(until_the_end: ExitStack) -> int:
        boards = Show(start_boards(until_the_end))
        return boards.boards_only() if sys.argv[1:] == ["up"] else boards.all()

    return shown("evals/board", show, Trouble, "all boards are ended")


# --- runs -------------------------------------------------------------------------------------------------------------


class BoardRun(Run):
    """A run of the suite, by its name, and what it has to do with boards."""

    def __init__(self, name: str, args: Sequence[str]) -> None:
        super().__init__(SUITE, (RUNS / name).relative_to(ROOT), args)

    def results(self) -> dict[str, tuple[str, ...]]:
        """Status, metric and value of each pair."""
        return {f"{row['task']}/{row['dataset']}": (row["status"], row["metric"], row["value"]) for row in self.rows()}

    def uploads(self) -> Uploads:
        with (self.directory / "events.jsonl").open(encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
        return Counter((event["model"], event["device"]) for event in events if event["event"] == "uploaded")

    def done(self, pair: str) -> int:
        """How many answers of a pair are kept by now."""
        task, _, dataset = pair.partition("/")
        file = self.directory / "predictions" / "board" / task / f"{dataset}.jsonl"
        return file.read_bytes().count(b"\n") if file.is_file() else 0


# --- what must hold ---------------------------------------------------------------------------------------------------


def repeated(uploads: Uploads) -> list[str]:
    return [f"{model} went to {board} {count} times" for (model, board), count in uploads.items() if count > 1]


def left_over(boards: Iterable[Board]) -> list[str]:
    return [f"{board.name}: {', '.join(left)}" for board in boards if (left := board.left())]


def table(uploads: Uploads, boards: Sequence[Board]) -> str:
    models = sorted({model for model, _ in uploads})
    rows = [("model", *(board.name for board in boards))]
    rows += [(model, *(str(uploads.get((model, board.name), 0)) for board in boards)) for model in models]
    return "\n".join(f"  {row[0]:18}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in rows)


@dataclass
class Show(Verdict):
    """Step by step."""

    boards: list[Board]

    def all(self) -> int:
        shutil.rmtree(RUNS, ignore_errors=True)
        self.introduce()
        here = self.here()
        self.on_boards(here)
        self.cut_off(here)
        return self.told()

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

    def here(self) -> dict[str, tuple[str, ...]]:
        print("\n1. Without a board, the same program on this machine", flush=True)
        # Neighbouring suites have no program that this adapter could start.
        run = BoardRun("here", ["--eval-set", "adapter=command", "--confcutdir", str(SUITE), "-n", "2"])
        problems, results = self.through(run)
        self.holds("all pairs passed", problems or ([] if results else ["there are no results"]))
        return results

    def through(self, run: BoardRun) -> tuple[list[str], dict[str, tuple[str, ...]]]:
        problems = run.through()
        return problems, {} if problems else run.results()

    def on_boards(self, here: Mapping[str, Any]) -> None:
        print("\n2. On three boards, with five workers", flush=True)
        run = BoardRun("boards", ["-n", "5"])
        problems, results = self.through(run)
        self.holds("all pairs passed", problems)
        if problems:
            return
        self.judge(run, here, results)
        self.holds("no work directory is left on any board", left_over(self.boards))

    def judge(self, run: BoardRun, here: Mapping[str, Any], results: Mapping[str, Any]) -> None:
        uploads = run.uploads()
        print("  how often each model was uploaded to each board:", table(uploads, self.boards), sep="\n")
        self.holds("no model went to a board twice", repeated(uploads) if uploads else ["no model was uploaded"])
        self.holds(f"the {len(here)} results are those of this machine", differences(here, results))

    def cut_off(self, here: Mapping[str, Any]) -> None:
        print("\n3. Again, and one board loses its power in the middle", flush=True)
        run = BoardRun("cut", ["-n", "5"])
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

    def cut_one(self, run: BoardRun, process: subprocess.Popen[bytes], here: Iterable[str]) -> Board | None:
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
