"""Suites on boards: real sshds, a program that any board can run, and pytest over it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

sys.path.insert(0, str(Path(__file__).parents[1]))

from sshd import ME, Sshd
from support import Project, Ran

# Answers the number in each file of its batch times that of the model.
ASK = """\
#!/bin/sh
m=$(cat "$1")
echo id,answer > "$3/answers.csv"
while IFS= read -r f; do
    echo "${f##*/},$(($(cat "$f") * m))" >> "$3/answers.csv"
done < "$2"
"""

# The programs of a suite write down what they were asked, in a place of the "board" that no work directory is.
COUNTING = ASK.replace("while IFS", 'echo start >> "$ASKED"\nwhile IFS').replace(
    "    echo", '    echo "${f##*/}" >> "$ASKED"\n    sleep "${DELAY:-0}"\n    echo'
)
# A test does not wait as long for what has gone as a user would want to: seconds to connect, between two beats, of
# silence, and of the board's own patience (twice).
IMPATIENT = """\
from pytest_evalrun.remote.link import Limits

Limits.__init__.__defaults__ = (5.0, 0.3, 4.0, 4, 1, *Limits.__init__.__defaults__[5:])
"""


class BoardSuite:
    """A matrix of models x datasets of small files below ``root/evals``; each model multiplies by its number."""

    def __init__(self, root: Path, boards: list[Sshd], models: int = 1, datasets: int = 1, samples: int = 6) -> None:
        self.root = root
        self.evals = root / "evals"
        self.boards = boards
        self.patience = 30.0
        self.ports = {number: board.port for number, board in enumerate(boards, 1)}
        self.evals.mkdir(parents=True)
        self.project = Project(root)
        (root / "pytest.ini").write_text("[pytest]\n")
        (self.evals / "ask.sh").write_text(ASK)
        for number in range(1, models + 1):
            (self.evals / f"m{number}.txt").write_text(f"{number}\n")
        for letter in "abcdefgh"[:datasets]:
            place = self.evals / letter
            place.mkdir()
            for number in range(samples):
                (place / f"{number}.txt").write_text(f"{number}\n")
        self.write()

    def devices(self, **fields: object) -> list[dict[str, object]]:
        return [
            {
                "name": f"b{number}",
                "host": "127.0.0.1",
                "port": self.ports[number],
                "user": ME,
                "identity_file": str(board.key),
                "known_hosts": str(board.known_hosts),
                "patience": 3,
                **fields,
            }
            for number, board in enumerate(self.boards, 1)
        ]

    def write(self, text: str = "", *, command: str = "sh ask.sh {model} {batch} {output}", **more: object) -> None:
        """JSON is YAML: what is given comes on top of what every suite here has."""
        settings: dict[str, object] = {
            "adapter": "ssh",
            "ask": "batch",
            "command": command,
            "max_batch_size": 2,
            "results": {"csv": "answers.csv", "prediction": "answer"},
            "devices": self.devices(),
            "models": [{"path": path.name} for path in sorted(self.evals.glob("m*.txt"))],
            "datasets": [{"path": path.name} for path in sorted(self.evals.iterdir()) if path.is_dir()],
            "format": "files",
            **more,
        }
        left = {key: value for key, value in settings.items() if value is not None}
        (self.evals / "evalrun.yaml").write_text(json.dumps(left, indent=1) + "\n" + dedent(text))

    def counting(self, delay: float = 0, **more: object) -> Path:
        """The file into which the program writes each id before it answers, which takes so many seconds."""
        asked = self.root / "asked.txt"
        (self.evals / "ask.sh").write_text(COUNTING)
        self.write(env={"ASKED": str(asked), "DELAY": str(delay)}, **more)
        return asked

    def impatient(self, reconnect: float = 3.0) -> BoardSuite:
        """Nor for a board to come back."""
        (self.root / "conftest.py").write_text(IMPATIENT)
        self.patience = reconnect
        self.write()
        return self

    def pytest(self, *args: str, **env: str) -> Ran:
        return self.project.run("evals", *args, **env)

    @property
    def run(self) -> Path:
        return self.root / "outputs" / "default" / "latest"

    def has(self, model: str, dataset: str) -> bool:
        return self._file(model, dataset).exists()

    def _file(self, model: str, dataset: str) -> Path:
        return self.run / "predictions" / "evals" / model / f"{dataset}.jsonl"

    def predictions(self, model: str = "m1", dataset: str = "a") -> dict[str, str]:
        """As text: a table holds text, a server answers numbers."""
        lines = self._file(model, dataset).read_text().splitlines()
        return {line["id"]: str(line["prediction"]) for line in map(json.loads, lines) if line["status"] == "ok"}

    def events(self, name: str) -> list[dict[str, object]]:
        lines = (self.run / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def left(self) -> list[str]:
        """What is on the boards below their homes, besides cached models."""
        found = [path.name for board in self.boards for path in board.home.iterdir()]
        return sorted(name for name in found if name != ".model_cache")
