"""Things that lie on a board by the names that we give, and who uses them; looking changes nothing there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.remote.models import DROP_MODEL, ModelCache
from pytest_evalrun.remote.places import CACHE, LIVES, TELL_WORK, WORK, checked, remove

if TYPE_CHECKING:
    from pytest_evalrun.remote.connection import Connection

# Of a directory with very many files in it the size takes its time.
PATIENCE = 60.0
# Directories of the cache that are no models.
_INNER = (".index", ".locks", ".users")
# An upload that has begun: the prefix, eight letters, and the name of the model, of which the end may be cut off.
_BEGUN = ".evalrun-"
_CUT = 100

_USES = (
    LIVES
    + """
# uses DIR OWNER: somebody else who lives has an entry there.
uses() {
    for e in "$1"/*; do
        o=${e##*/}
        [ -e "$e" ] && [ "$o" != "$2" ] && lives_owner "$o" && return 0
    done
    return 1
}
# in_use MODEL OWNER: within the cache.
in_use() { uses ".users/$1" "$2" || uses ".locks/$1" "$2"; }
plain_cache() {
    for d in .model_cache .model_cache/.index .model_cache/.locks .model_cache/.users; do [ -L "$d" ] && return 1; done
    [ -d .model_cache ]
}
"""
)

# $1: home, $2: owner. One thing a line: whether a live session has it, its size in kB, its name.
_LOOK = (
    _USES
    + TELL_WORK
    + f"""
cd -P -- "$1" || exit 1
tell() {{ s=$(du -sk -- "./$2" 2>/dev/null) && s=${{s%%[!0-9]*}} || s=; echo "$1 ${{s:-0}} $3$2"; }}
tell_work
plain_cache && cd {CACHE} || exit 0
for n in * .evalrun-*; do
    [ -e "$n" ] || [ -L "$n" ] || continue
    case $n in .evalrun-*) m=${{n#.evalrun-*-}} ;; *) m=$n ;; esac
    if in_use "$m" "$2"; then tell used "$n" {CACHE}/; else tell left "$n" {CACHE}/; fi
done
"""
)

# $1: home, $2: owner, $3: name. The lock of a model, as those take it who ask for the model: announce, then look.
_HOLD = (
    _USES
    + f"""
cd -P -- "$1" && plain_cache && cd {CACHE} && mkdir -p ".locks/$3/$2" || exit 1
if in_use "$3" "$2"; then rmdir ".locks/$3/$2"; else echo ours; fi
"""
)

# $1: home, $2: owner.
_BARE = (
    _USES
    + f"""
cd -P -- "$1" && plain_cache && cd {CACHE} || exit 0
for d in .users/* .locks/*; do uses "$d" "$2" && exit 0; done
[ "$(find . ! -type d ! -path './.index/*' | head -n 1)" ] || echo bare
"""
)


@dataclass(frozen=True)
class Leftover:
    """A work directory, a model or the beginning of one: ``name`` below the home; ``used`` by a session that lives."""

    name: str
    bytes: int
    used: bool


def look(board: Connection) -> list[Leftover]:
    """All that has names of the kind that we give, whosever it is."""
    owner = board.watchdog.owner
    lines = board.must("looking around", _LOOK, board.facts.home, owner, timeout=PATIENCE).text.splitlines()
    return [
        Leftover(name, int(size) * 1024, state == "used")
        for state, size, name in (line.split(" ", 2) for line in lines if line.startswith(("used ", "left ")))
    ]


def model_of(name: str) -> str:
    """The model that lies there by this name below the home, or whose upload has begun there; empty for all else."""
    inner = name.removeprefix(f"{CACHE}/")
    if inner == name or inner in _INNER:
        return ""
    if not inner.startswith(_BEGUN):
        return inner
    model = inner.split("-", 2)[-1]
    return model if len(model) < _CUT else ""


def take_away(board: Connection, name: str) -> bool:
    """A work directory, or what :func:`model_of` knows. False where somebody uses the model by now."""
    model = model_of(checked(name))
    if name.startswith(WORK):
        remove(board, name)
        return True
    if not model or not _hold(board, model):
        return False
    try:
        remove(board, name)
    finally:
        ModelCache(board).release(model, DROP_MODEL, last=True)  # gives the lock back, and forgets how it stood
    return True


def _hold(board: Connection, model: str) -> bool:
    done = board.must(f"asking for {model}", _HOLD, board.facts.home, board.watchdog.owner, model)
    return done.text.strip() == "ours"


def drop_bare_cache(board: Connection) -> None:
    """A cache that nobody uses, and in which only its own notes are left."""
    bare = board.must("looking at the model cache", _BARE, board.facts.home, board.watchdog.owner)
    if bare.text.strip():
        remove(board, CACHE)
