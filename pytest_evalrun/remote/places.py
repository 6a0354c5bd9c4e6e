"""Work directories and the model cache are ours below a board's home: here they are made and taken away.

Removal is checked twice. Here: the name is one of the few that we make. There: the home is resolved, nothing on the
way to what goes is a link, and a link itself goes without what it leads to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.faults import BoardError
from pytest_evalrun.remote.watchdog import PREFIX

if TYPE_CHECKING:
    from collections.abc import Container

    from pytest_evalrun.remote.connection import Connection

WORK = "task_"
CACHE = ".model_cache"
_OWN = re.compile(rf"{WORK}[^/\0\n]+|{re.escape(CACHE)}(/[^/\0\n]+)?")
_REFUSED = 73
# What a work directory is called beside its pair: a range of it, then the number of one whose name was taken.
_RANGE = re.compile(r"_\d+-\d+\Z")
_NUMBER = re.compile(r"_([2-9]|[1-9]\d|100)\Z")

# Whether an owner, the token of a watch and the PID of its shell, still lives.
LIVES = f"""
lives_owner() {{
    t=${{1%.*}} p=${{1##*.}}
    [ -d "{PREFIX}$t" ] && {{ kill -0 "$p" 2>/dev/null || [ -d "/proc/$p" ]; }}
}}
"""

# $1: home, $2: name of the directory, $3: owner. Another session of another host may have the same pair.
_CLAIM = (
    LIVES
    + """
cd -P -- "$1" || exit 1
n=$2 i=1
until mkdir -- "$n" 2>/dev/null; do
    o=
    { [ -L "$n" ] || read -r o < "$n/.evalrun-owner"; } 2>/dev/null || o=
    if [ "$o" ] && [ "$o" != "$3" ] && lives_owner "$o"; then
        i=$((i + 1))
        n=$2_$i
    elif [ -L "$n" ]; then
        rm -f -- "$n"
    else
        rm -rf -- "$n" && ! [ -e "$n" ] || exit 1
    fi
    [ -w . ] && [ "$i" -lt 100 ] || { echo "$PWD: no directory can be made here" >&2; exit 1; }
done
echo "$3" > "$n/.evalrun-owner" || exit 1
echo "$n"
"""
)

# $1: home, $2: name below it, checked here once more.
_REMOVE = f"""
home=$(cd -P -- "$1" && pwd -P) || exit 1
case $2 in
    {WORK}*/* | {CACHE}/*/* | */..* | */. | */) exit {_REFUSED} ;;
    {WORK}?* | {CACHE}) place=$home ;;
    {CACHE}/?*) place=$home/{CACHE} ;;
    *) exit {_REFUSED} ;;
esac
[ -e "$place" ] || exit 0
cd -P -- "$place" || exit 1
[ "$(pwd -P)" = "${{place%/}}" ] || [ "$place" = / ] || exit {_REFUSED}
n=${{2##*/}}
[ -L "./$n" ] || [ -e "./$n" ] || exit 0
if [ -L "./$n" ]; then rm -f -- "./$n"; else rm -rf -- "./$n"; fi
"""

# Behind LIVES: calls `tell used NAME` for every work directory here that a live session has, else `tell left NAME`.
TELL_WORK = f"""
tell_work() {{
    for n in {WORK}*; do
        [ -e "$n" ] || [ -L "$n" ] || continue
        {{ [ ! -L "$n" ] && read -r o < "$n/.evalrun-owner"; }} 2>/dev/null || o=
        if [ "$o" ] && lives_owner "$o"; then tell used "$n"; else tell left "$n"; fi
    done
}}
"""

# $1: home.
_LIST = (
    LIVES
    + TELL_WORK
    + """
cd -P -- "$1" || exit 1
tell() { echo "$1 $2"; }
tell_work
"""
)


# $1: home, $2: name, $3: an owner. True where that one has it, or nobody who lives.
_MINE = (
    LIVES
    + """
cd -P -- "$1" || exit 1
{ read -r o < "$2/.evalrun-owner"; } 2>/dev/null || exit 0
[ "$o" = "$3" ] || ! lives_owner "$o"
"""
)


@dataclass(frozen=True)
class BoardWorkDir:
    """A directory of one pair on a board, empty when it is claimed; ``path`` is absolute and without links."""

    board: Connection
    name: str
    owner: str = ""

    @property
    def path(self) -> str:
        return below(self.board, self.name)

    def remove(self) -> None:
        """Remove it, unless somebody else has it by now, after our connection was lost."""
        if not self.owner or self.board.run(_MINE, self.board.facts.home, self.name, self.owner).code == 0:
            remove(self.board, self.name)


def below(board: Connection, name: str) -> str:
    """The absolute path of what lies below the resolved home."""
    return f"{board.facts.home.rstrip('/')}/{name}"


def work_name(task: str, dataset: str) -> str:
    """``task_<task>_<dataset>`` as in task_run.sh, of names that are safe for files."""
    return checked(f"{WORK}{task.replace('/', '_')}_{dataset.replace('/', '_')}")


def pair_directory(name: str, known: Container[str]) -> str | None:
    """The directory of a pair, of those that are known, that this one is or comes from; the longest name decides."""
    shorter = _NUMBER.sub("", name)
    return next((one for one in (name, shorter, _RANGE.sub("", name), _RANGE.sub("", shorter)) if one in known), None)


def claim(board: Connection, name: str) -> BoardWorkDir:
    """The directory of that name, emptied of what a dead run left; ``name_2`` and so on where a live one has it."""
    owner = board.watchdog.owner
    done = board.must(f"making {checked(name)}", _CLAIM, board.facts.home, name, owner)
    return BoardWorkDir(board, done.text.rstrip("\n"), owner)


def left_behind(board: Connection) -> list[str]:
    """The work directories that no live session uses: what was killed before it could tidy up."""
    lines = board.must("listing work directories", _LIST, board.facts.home).text.splitlines()
    return [line.removeprefix("left ") for line in lines if line.startswith("left ")]


def remove(board: Connection, name: str) -> None:
    """A work directory, the model cache, or a model in it; nothing else below the home can be named."""
    done = board.run(_REMOVE, board.facts.home, checked(name))
    if done.code == _REFUSED:
        raise BoardError(f"board {board.name}: {name} is not removed: a link leads out of {board.facts.home}")
    if done.code:
        raise BoardError(f"board {board.name}: {name} cannot be removed: {done.complaint}")


def checked(name: str) -> str:
    """Raises ConfigError for what is not ours to touch."""
    if not _OWN.fullmatch(name) or name.rpartition("/")[2] in (".", ".."):
        raise ConfigError(f"{name!r}: only {WORK}… and {CACHE}/… below a board's home are made and removed by evalrun")
    return name
