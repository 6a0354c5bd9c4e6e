"""The indices of a task: asked of a controller, or of the task's own code in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pytest_evalrun.datasets.unique import Repeats
from pytest_evalrun.datasets.values import is_writable
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.problems import found, some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.agents.protocol import Index
    from pytest_evalrun.agents.tasks.definitions import TaskDefinition

ANSWER_SECONDS = 10.0
LONGEST_ANSWER = 64 << 20
# A task may read all of its data, or build an image, before it knows what there is.
LOADING_SECONDS = 900.0
LAST_LINES = 15
LONGEST_SHOWN = 500
EMBEDDED = "leave `controller` out and name the task in `tasks` to have one started"


class NobodyThere(PairError):  # noqa: N818 - what is the case
    """No controller answers."""


def indices_of_server(url: str, task: str, shown: str) -> list[Index]:
    """Ask a controller; ``shown`` is its URL without secrets. Raises PairError with what to do."""
    status, body = _get(f"{url}/get_indices?{urlencode({'name': task})}", shown)
    if status == 200:
        return checked_indices(_value(body, shown), f"task {task} at {shown}")
    text = _detail(body)
    if "not exist" in text:
        raise PairError(f"task {task}: controller {shown} has no such task; it has {_tasks_of(url, shown)}")
    if status in (401, 403, 404):
        wanted = (
            "accepted: the URL that the controller says when it starts, with its token: http://HOST:5000/t/TOKEN/api"
        )
        raise PairError(f"controller {shown}: HTTP {status} ({text}): a wrong token, or no controller; {wanted}")
    raise PairError(f"task {task}: controller {shown}: HTTP {status}: {text}")


def _tasks_of(url: str, shown: str) -> str:
    """What there is instead, in words."""
    status, body = _get(f"{url}/list_workers", shown)
    listed = _value(body, shown) if status == 200 else None
    if not isinstance(listed, dict) or not listed:
        return "none; start its workers with `evalrun start`"
    return printable(some(sorted(map(str, listed)), 20))


def _get(url: str, shown: str) -> tuple[int, bytes]:
    """Status and body of an answer, never by a proxy."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener

    try:
        with build_opener(ProxyHandler({})).open(url, timeout=ANSWER_SECONDS) as response:
            body = response.read(LONGEST_ANSWER + 1)
            status = response.status
    except HTTPError as error:
        with error:
            return error.code, error.read(LONGEST_SHOWN)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise NobodyThere(
            f"controller {shown}: nobody answers ({printable(str(reason))}); start it and its workers with "
            f"`evalrun start -a`, or {EMBEDDED}"
        ) from None
    if len(body) > LONGEST_ANSWER:
        raise PairError(f"controller {shown}: an answer of more than {LONGEST_ANSWER >> 20} MB")
    return status, body


def _value(body: bytes, shown: str) -> Any:
    try:
        return parse_json(body)
    except ValueError as error:
        raise PairError(f"controller {shown}: an answer that is not JSON ({error}); is it a controller?") from None


def _detail(body: bytes) -> str:
    """What a controller says of what it does not grant, in its words."""
    try:
        value = parse_json(body)
    except ValueError:
        value = None
    text = str(value.get("detail", value)) if isinstance(value, dict) else body.decode(errors="replace")
    return " ".join(printable(text)[:LONGEST_SHOWN].split())


@contextmanager
def one_at_a_time(content: str) -> Iterator[None]:
    """Let one process of this user load a task, while others wait for what it says: loading may be long, and heavy."""
    place = Path(tempfile.gettempdir(), f"evalrun-task-{os.getuid()}-{content[:32]}.lock")
    with ExitStack() as held:
        with suppress(OSError):  # where there can be no lock, each of them loads it
            lock = held.enter_context(FileLock(place))
            if lock.take(wait=LOADING_SECONDS):
                held.callback(place.unlink, missing_ok=True)
        yield


def indices_of_code(task: TaskDefinition, config: Path | None, root: str) -> list[Index]:
    """Let a process load the task and say its indices. Raises PairError with the last lines of what it wrote.

    ``config`` is the file that defines the task; None where the suite does.
    """
    with tempfile.TemporaryDirectory(prefix="evalrun-task-") as directory:
        if config is None:
            config = Path(directory, "tasks.json")
            config.write_text(json.dumps({"definition": {task.name: dict(task.entry)}}), encoding="utf-8")
        output = _output_of(task, config, root)
    try:
        indices = parse_json(output.splitlines()[-1]) if output.strip() else None
    except ValueError:
        indices = None
    return checked_indices(indices, f"task {task.place}")


def _output_of(task: TaskDefinition, config: Path, root: str) -> str:
    from pytest_evalrun.agents.tasks.commands import EVALRUN

    argv = [*EVALRUN, "task-worker", "--indices", "--config", str(config), "--root", root, "--", task.name]
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, and a name behind --
            argv, stdin=subprocess.DEVNULL, capture_output=True, cwd=root, timeout=LOADING_SECONDS, check=False,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PairError(f"task {task.place}: said no indices within {LOADING_SECONDS:.0f} s") from None
    if done.returncode:
        raise PairError(_refusal(task, done.returncode, done.stderr.replace(str(config), task.source)))
    return done.stdout


def _refusal(task: TaskDefinition, code: int, said: str) -> str:
    """Why there are no indices, first in the last line that the process wrote, then in those before it."""
    *lines, last = printable(said).strip().splitlines()[-LAST_LINES:] or [f"exit code {code}"]
    hint = "; where it needs its image, serve it with `evalrun start`, and name `controller`" if task.image else ""
    told = last.removeprefix("Error: ").removeprefix(task.place).lstrip(".: ")  # the place is said once
    first = f"task {task.place}: its indices cannot be had: {told}{hint}"
    return "\n".join([first, *lines])


def checked_indices(indices: Any, where: str) -> list[Index]:
    """The indices of a task, where they are some. Raises PairError for what no sample can be called after."""
    if not isinstance(indices, list):
        raise PairError(f"{where}: get_indices(): {found(indices)}; accepted: a list of numbers or texts")
    if not indices:
        raise PairError(f"{where}: the task is empty: it has no indices")
    for place, index in enumerate(indices):
        if type(index) not in (int, str) or not is_writable(str(index)) or not str(index):
            raise PairError(f"{where}: index {place}: {found(index)}; accepted: whole numbers and texts")
    repeats = Repeats(16 * len(indices))
    repeats.add(map(str, indices))
    repeats.confirm(((str(index), place) for place, index in enumerate(indices)), where, "indices")
    return indices
