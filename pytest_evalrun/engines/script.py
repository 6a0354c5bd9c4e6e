"""``job.sh``: what a node runs, whatever the engine. It starts pytest, passes signals on to it, and ends as it ends."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from pytest_evalrun.engines.exits import CANNOT_BEGIN, GO_ON_LATER
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.engines.protocol import Job
    from pytest_evalrun.rundir.jobfiles import JobFile

# A batch system sends its signals to the shell alone, or to the shell and all that it started. Bash runs a trap at once
# only while it waits, and a signal ends the wait: so pytest is started in the background, and waited for again.
# A signal that comes before Python can take it ends Python at once: nothing was begun, and another job goes on.
SCRIPT = """\
#!/bin/bash
# {title}
# Written by pytest-evalrun for one job of a cluster; `bash` runs it, on any node that sees the same files.

rootdir={rootdir}
job={job}
command=({command})

child=
caught=
asked=
pass_on() {{
    caught=1
    asked=1
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}}
trap pass_on TERM USR1 INT HUP

cannot_begin() {{
    printf 'evalrun: %s does not see %s; %s\\n' "$(uname -n)" "$1" "$2" >&2
    exit {cannot_begin}
}}
shared='jobs start in the directories of the launch, so every node must have them under the same path'
cd -- "$rootdir" 2>/dev/null || cannot_begin "$rootdir" "$shared"
[ -r "$job" ] || cannot_begin "$job" "$shared"
[ -x "${{command[0]}}" ] || cannot_begin "${{command[0]}}" 'jobs run with the Python of the launch, under the same path'

unset -v PYTEST_ADDOPTS PYTEST_CURRENT_TEST "${{!PYTEST_XDIST_@}}"
export PYTHONUNBUFFERED=1

"${{command[@]}}" &
child=$!
[ -z "$asked" ] || kill -TERM "$child" 2>/dev/null
while
    caught=
    wait "$child"
    code=$?
    [ -n "$caught" ]
do :; done
[ -z "$asked" ] || [ "$code" -ne {terminated} ] || code={go_on_later}
exit "$code"
"""
TERMINATED = 128 + 15


def write_script(job: Job, spec: JobFile, file: Path) -> None:
    """Write the script of a job beside the others of its attempt; ``file`` is where ``spec`` lies, or will lie.

    Raises OSError where the disk does not take it.
    """
    text = SCRIPT.format(
        title=one_line(job.title),
        rootdir=shlex.quote(spec.rootdir),
        job=shlex.quote(str(file)),
        command=shlex.join(job_command(spec, file)),
        cannot_begin=CANNOT_BEGIN,
        go_on_later=GO_ON_LATER,
        terminated=TERMINATED,
    )
    write_atomic(job.script, os.fsencode(text))
    job.script.chmod(0o755)


def job_command(spec: JobFile, file: Path) -> list[str]:
    """Give the words that run a job in its root directory: what is fixed, what is handed on, and the files to collect.

    What is fixed comes last, so that nothing of it can be undone.
    """
    # Pytest puts values of variables into this word; the job is there already, but a link above it would be resolved.
    rootdir = "." if "$" in spec.rootdir else spec.rootdir
    config = ("-c", spec.inifile) if spec.inifile else ("-c", os.devnull, "--confcutdir", spec.rootdir)
    workers = ("-n", str(spec.workers)) if spec.workers > 1 else ()
    fixed = (*config, "--rootdir", rootdir, "-o", "addopts=", "-p", "no:cacheprovider", *workers)
    files = dict.fromkeys(_collected(item.id) for item in spec.items)
    return [sys.executable, "-m", "pytest", *spec.arguments, *fixed, "--eval-job", str(file), *files]


def _collected(nodeid: str) -> str:
    """Give the file of an item as an argument of pytest's: never an option, nor a file of options (``@``).

    A ``[`` is no part of a path to pytest: the directory above is collected then, and the job picks what it runs.
    """
    parts = nodeid.partition("::")[0].split("/")
    odd = next((place for place, part in enumerate(parts) if "[" in part), len(parts))
    return "/".join((".", *parts[:odd]))
