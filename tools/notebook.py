"""Writes docs/notebook.md and the part of README.md about notebooks: their Python is run, and what it shows is put in.

``make docs`` calls it; a test fails where a page is not what this makes. The runs behind it are made by pytest, of two
models and two datasets of evals/digits.
"""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.notebook.columns import FRAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "notebook.md", ROOT / "README.md")
SUITE = ROOT / "evals" / "digits"
# Left out of it, line by line: two models and two datasets are enough to show.
LEFT_OUT = ("int8", "rotated")
# A slip in the preprocessing, and its end; a page must not change with the day on which the runs were made.
LAUNCHES = {
    "20261121_103015": ("--eval-set", "preprocess.scale=0.002"),
    "20261121_104502": ("--eval-run", "new"),
}
# A block of Python and, where it shows something, what that is.
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)
TABLE = re.compile(r"(?P<head><!-- columns of (?P<name>\w+) -->\n).*?(?P<end><!-- end -->\n)", re.DOTALL)


def make_runs(root: Path) -> None:
    """Evaluate digits twice below a directory: first with a slip in the preprocessing, then without."""
    suite = root / "evals" / "digits"
    shutil.copytree(SUITE, suite, ignore=shutil.ignore_patterns("outputs", "__pycache__"))
    lines = (suite / "evalrun.yaml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not any(word in line for word in LEFT_OUT)]
    (suite / "evalrun.yaml").write_text("\n".join(kept) + "\n", encoding="utf-8")
    (root / "pytest.ini").write_text("[pytest]\n")
    latest = root / "outputs" / "default" / "latest"
    for name, options in LAUNCHES.items():
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "evals", *options]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode not in (0, 1):  # a breached gate is something to look at
            raise RuntimeError(done.stdout + done.stderr)
        latest.resolve().rename(latest.with_name(name))
        latest.unlink()
        latest.symlink_to(name)


def fresh(text: str, root: Path) -> str:
    """A page as it should be, its Python run in one go in a directory with runs; raises what that raises."""
    with _notebook_in(root) as names:
        text = BLOCK.sub(lambda block: _shown(block["code"], names), text)
    return TABLE.sub(lambda table: f"{table['head']}{_columns(table['name'])}{table['end']}", text)


@contextmanager
def _notebook_in(root: Path) -> Iterator[dict[str, Any]]:
    import pandas as pd

    here = Path.cwd()
    os.chdir(root)
    try:
        with pd.option_context("display.width", 110, "display.max_columns", 12):
            yield {"__name__": "notebook"}
    finally:
        os.chdir(here)


def _shown(code: str, names: dict[str, Any]) -> str:
    """The block with what it prints, and its last value where that is one, as a notebook has it."""
    tree = ast.parse(code)
    *body, last = tree.body
    output = io.StringIO()
    with redirect_stdout(output):
        if not isinstance(last, ast.Expr):
            exec(compile(tree, "notebook", "exec"), names)  # noqa: S102 - it is our own page
        else:
            exec(compile(ast.Module(body, []), "notebook", "exec"), names)  # noqa: S102
            value = eval(compile(ast.Expression(last.value), "notebook", "eval"), names)  # noqa: S307
            if value is not None:
                output.write(f"{value!r}\n")
    text = "\n".join(line.rstrip() for line in output.getvalue().splitlines())
    return f"```python\n{code}```\n" + (f"\n```text\n{text}\n```\n" if text else "")


def _columns(name: str) -> str:
    rows = [f"| `{column.name}` | `{column.dtype}` | {column.text}{_words(column.words)} |" for column in FRAMES[name]]
    return "\n".join(["| column | dtype | what it is, in which unit |", "|---|---|---|", *rows]) + "\n"


def _words(words: tuple[str, ...]) -> str:
    return f": {', '.join(f'`{word}`' for word in words)}" if words else ""


def main() -> None:
    """Write the pages anew."""
    with tempfile.TemporaryDirectory(prefix="evalrun-notebook-") as place:
        make_runs(Path(place))
        for page in PAGES:
            page.write_text(fresh(page.read_text(encoding="utf-8"), Path(place)), encoding="utf-8")


if __name__ == "__main__":
    main()
