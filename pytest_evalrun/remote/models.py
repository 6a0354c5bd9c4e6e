"""Models on a board: uploaded once, whoever asks at the same time, and believed only while their content is the same.

``.model_cache/<task>_model<ext>`` is the model, ``.model_cache/.index/<sha256>/<name>`` how it stood when it was
checked (size, times, inode; nothing where the board has no stat): where it still stands so it is not read again.
Beside them, a directory for each name holds the owners who wait for it or use it. An owner is a connection, and is
known to be dead when its watchdog is.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.places import CACHE, LIVES, below, checked, remove
from pytest_evalrun.remote.transfer import upload_file
from pytest_evalrun.suite.waiting import pauses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_evalrun.remote.connection import Connection

KEEP, DROP_MODEL, DROP_ALL = 0, 1, 2
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

# others DIR OWNER: true where somebody else who lives has an entry there; the entries of the dead go.
_OTHERS = (
    LIVES
    + """
others() {
    for e in "$1"/*; do
        o=${e##*/}
        [ -e "$e" ] && [ "$o" != "$2" ] || continue
        if lives_owner "$o"; then return 0; fi
        rmdir "$e" 2>/dev/null
    done
    return 1
}
stamp() { stat -c '%s %y %z %i' -- "$1" 2>/dev/null; }
cache() {
    [ -L .model_cache ] && { echo "$PWD/.model_cache is a link" >&2; exit 1; }
    mkdir -p .model_cache/.index .model_cache/.locks .model_cache/.users && cd .model_cache
}
"""
)

# $1: home, $2: name, $3: owner, $4: digest, $5: how to make SHA-256.
#
# The lock: everybody announces himself, then looks; who sees nobody else has it, and who sees another goes back.
# Of two who announce themselves at the same time both may go back, but never can both have it.
_ENSURE = (
    _OTHERS
    + """
cd -P -- "$1" && cache || exit 1
n=$2 me=$3 digest=$4 sha=$5
mkdir -p ".users/$n/$me" ".locks/$n/$me" || exit 1
if others ".locks/$n" "$me"; then rmdir ".locks/$n/$me"; echo busy; exit 0; fi
right() {
    [ -f "$1" ] && [ ! -L "$1" ] || return 1
    now=$(stamp "$1") && { read -r then < ".index/$digest/$1"; } 2>/dev/null && [ "$now" = "$then" ] && return 0
    [ "$sha" ] && [ "$($sha < "$1" | cut -d ' ' -f 1)" = "$digest" ]
}
note() {
    mkdir -p ".index/$digest" || return 1
    stamp "$1" > ".index/$digest/$1" || :
}
free() { rmdir ".locks/$n/$me"; }
if right "$n"; then note "$n"; free; echo have; exit 0; fi
if [ -e "$n" ] && others ".users/$n" "$me"; then rmdir ".users/$n/$me"; free; echo used; exit 0; fi
rm -rf -- .evalrun-????????-"$n" "$n" .index/*/"$n"
for f in ".index/$digest"/*; do
    f=${f##*/}
    if right "$f" && { ln -- "$f" "$n" || cp -- "$f" "$n"; } 2>/dev/null && right "$n"; then
        note "$n"; note "$f"; free; echo have; exit 0
    fi
done
echo upload
"""
)

# $1: home, $2: name, $3: owner, $4: digest; empty where the upload failed.
_SETTLE = (
    _OTHERS
    + """
cd -P -- "$1" && cache || exit 1
if [ "$4" ] && mkdir -p ".index/$4"; then stamp "$2" > ".index/$4/$2"; fi
rmdir ".locks/$2/$3" 2>/dev/null
exit 0
"""
)

# $1: home, $2: name, $3: owner, $4: whether it shall go. It goes under its lock: who asks for it waits, or uploads it.
_LEAVE = (
    _OTHERS
    + """
cd -P -- "$1" && [ -d .model_cache ] && cache || exit 1
n=$2 me=$3
rmdir ".users/$n/$me" 2>/dev/null
[ "$4" ] && mkdir -p ".locks/$n/$me" || exit 0
if ! others ".locks/$n" "$me" && ! others ".users/$n" "$me"; then
    rm -rf -- "$n" .index/*/"$n" && echo gone
    rmdir .index/* 2>/dev/null
fi
rmdir ".locks/$n/$me"
"""
)

# $1: home, $2: owner.
_USED = (
    _OTHERS
    + """
cd -P -- "$1" && [ -d .model_cache ] && cache || exit 0
for d in .users/* .locks/*; do others "$d" "$2" && { echo used; exit 0; }; done
exit 0
"""
)


@dataclass(frozen=True)
class Cached:
    """A model on a board: SHARED_MODEL_PATH, and how many bytes went over to have it there."""

    name: str
    path: str
    uploaded: int


def model_name(task: str, extension: str) -> str:
    """``<task_safe_name>_model<ext>``, as task_run.sh calls it."""
    return checked(f"{CACHE}/{task.replace('/', '_')}_model{extension}").partition("/")[2]


class ModelCache:
    """The models of one board. ``check`` is called while others are waited for, and raises where that shall end."""

    def __init__(self, board: Connection, *, check: Callable[[], None] | None = None) -> None:
        self._board = board
        self._check = check or (lambda: None)

    def ensure(self, path: Path, name: str, digest: str) -> Cached:
        """The model of this SHA-256 is on the board under that name, and stays while this connection lives.

        One of all who ask uploads it; a model of the same content under another name is linked. Another content under
        this name stays for as long as anybody uses it.
        """
        if len(digest) != 64 or not all(letter in "0123456789abcdef" for letter in digest):
            raise ConfigError(f"{digest!r} is no SHA-256")
        target = below(self._board, checked(f"{CACHE}/{name}"))
        growing = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        while (answer := self._ask(name, digest)) in ("busy", "used"):
            self._check()
            time.sleep(next(growing) * random.uniform(0.5, 1.5))  # noqa: S311 - two who meet shall not meet again
        if answer == "have":
            return Cached(name, target, 0)
        return Cached(name, target, self._upload(path, name, target, digest))

    def release(self, name: str, policy: int = KEEP, *, last: bool = False) -> bool:
        """This connection needs the model no more; ``last``: nor does anybody of this run.

        By CLEANUP_SHARED_MODELS: 0 keeps it, 1 takes it away after the last of its datasets, 2 the whole cache after
        the last of all (:meth:`clear`). What another live connection uses stays. True where the model went.
        """
        owner, goes = self._board.watchdog.owner, policy == DROP_MODEL and last
        done = self._board.run(_LEAVE, self._board.facts.home, name, owner, "yes" if goes else "")
        return done.text.strip() == "gone"

    def clear(self) -> bool:
        """The whole cache goes, unless somebody else uses a model of it."""
        used = self._board.must("looking at the model cache", _USED, self._board.facts.home, self._board.watchdog.owner)
        if used.out:
            return False
        remove(self._board, CACHE)
        return True

    def _ask(self, name: str, digest: str) -> str:
        facts, owner = self._board.facts, self._board.watchdog.owner
        done = self._board.must(f"looking for model {name}", _ENSURE, facts.home, name, owner, digest, facts.hash)
        return done.text.strip()

    def _upload(self, path: Path, name: str, target: str, digest: str) -> int:
        arrived = ""
        owner = self._board.watchdog.owner
        try:
            size = upload_file(self._board, path, target, digest).size
            arrived = digest
        finally:
            # After a loss the lock is gone with the watchdog that it names.
            if not self._board.lost:
                self._board.run(_SETTLE, self._board.facts.home, name, owner, arrived)
        return size
