"""How a board is told what to do: scripts for any POSIX shell, sent through standard input.

The command that the board's log and process list see is always the same. The script, its arguments and its
environment come after it, quoted, so that no name is ever code, no secret stands in a process list, and no command
line is too long.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A line that says how the script ends, the script, that line again. A login shell of any kind only ever sees this.
BOOT = (
    """exec sh -c 'n="$(printf "\\nx")"; n="${n%x}"; s=; IFS= read -r m || exit 125; """
    """while IFS= read -r l && [ "$l" != "$m" ]; do s="$s$l$n"; done; [ "$l" = "$m" ] || exit 125; eval "$s"' evalrun"""
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def told(script: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> bytes:
    """Write what is sent after BOOT: the script with ``$1``, ``$2``… and, where it says so, the variables."""
    end = f"#{secrets.token_hex(8)}"
    positional = f"set -- {shlex.join(args)}" if args else "set --"
    text = script.replace(EXPORTS, exports(env or {}))
    return os.fsencode(f"{end}\n{positional}\n{text}\n{end}\n")


def exports(env: Mapping[str, str]) -> str:
    """Raises ConfigError for what cannot be a variable."""
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise ConfigError(f"env: {name!r} cannot be a variable on a board")
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items())


EXPORTS = "# the environment of the program"

# English messages, and no file that others may read.
PLAIN = "export LC_ALL=C; umask 077\n"

# $1: when a process began, by the kernel's clock; empty where nobody knows. A PID alone may be another's by now.
_PROCESSES = """
began() {
    { read -r s < "/proc/$1/stat"; } 2>/dev/null || return 0
    set -- ${s##*) }
    shift 19
    echo "$1"
}
nap() { sleep 0.1 2>/dev/null || { sleep 1; naps=$((naps + 9)); }; }
hit() { kill "-$2" "-$1" 2>/dev/null || kill "-$2" "$1" 2>/dev/null; }
lives() { kill -0 "-$1" 2>/dev/null || kill -0 "$1" 2>/dev/null; }
same() { kill -0 "$1" 2>/dev/null || return 0; [ "$(began "$1")" = "$2" ]; }
"""

# Ends the groups that files name, after a grace by force: finish GRACE FILE... A daemon is in a group of its own, but
# where there is /proc what it has inherited tells whose it is.
FINISH = (
    _PROCESSES
    + """
finish() {
    naps=0 limit=$(($1 * 10)) pids=
    shift
    for f; do
        p=${f##*/}
        case $p in *[!0-9]*|'') continue ;; esac
        { read -r b < "$f"; } 2>/dev/null || b=
        same "$p" "$b" && lives "$p" && pids="$pids $p" && hit "$p" TERM
        for e in $(grep -lsF "EVALRUN_PROGRAM=$f/" /proc/[0-9]*/environ 2>/dev/null); do
            e=${e#/proc/} e=${e%/environ}
            pids="$pids $e"
            hit "$e" TERM
        done
    done
    left "$limit" $pids
    for p in $pids; do hit "$p" KILL; done
    left $((naps + 50)) $pids
    rm -f "$@"
}
left() {
    most=$1
    shift
    while [ "$naps" -lt "$most" ]; do
        any=
        for p; do lives "$p" && any=1; done
        [ "$any" ] || return 0
        nap
        naps=$((naps + 1))
    done
}
"""
)

# $1: directory of the watch, $2: seconds between looks, $3: grace.
#
# What others of its kind have left is swept, where it is ours and no link: in a sticky /tmp nobody can change it then.
#
# Two who watch: one reads what we say and sees the connection end; the other looks from time to time whether anything
# was said at all, for a line that was cut is silent. Whoever notices ends every program of the connection.
WATCH = (
    PLAIN
    + FINISH
    + """
d=$1 every=$2 grace=$3
trap '' HUP INT TERM PIPE
leave() {
    finish "$grace" "$d"/[0-9]*
    rm -rf "$d"
    { read -r a b c e group rest < /proc/$$/stat; } 2>/dev/null || group=$$
    [ "$group" = "$$" ] && kill -KILL "-$$"
    exit 0
}
sweep() {
    t=$(cd -P -- "${d%/*}" && pwd -P) || return 0
    for o in "${d%-*}"-*/; do
        n=${o%/}
        ( cd -P -- "$o" && [ -O . ] && [ "$(pwd -P)" = "$t/${n##*/}" ] ) 2>/dev/null || continue
        { read -r p b < "${o}owner"; } 2>/dev/null || continue
        kill -0 "$p" 2>/dev/null && [ "$(began "$p")" = "$b" ] && continue
        finish "$grace" "$o"[0-9]*
        rm -rf "$o"
    done
}
mkdir "$d" || exit 1
echo "$$ $(began $$)" > "$d/owner" || exit 1
: > "$d/beat"
echo "watching $$"
sweep 2>/dev/null &
( while sleep "$every"; do [ -e "$d/beat" ] || leave; rm -f "$d/beat"; done ) &
while read -r word pid; do
    case $word in
        beat) : > "$d/beat"; echo . ;;
        done) ( finish "$grace" "$d/$pid" ) & ;;
    esac
done
leave
"""
)

# $1: directory of the watch, $2: where to run, the rest: the program. What it is called is told before it starts.
RUN = (
    _PROCESSES
    + f"""
d=$1 w=$2
shift 2
{{ read -r a b c e group rest < /proc/$$/stat; }} 2>/dev/null || group=$$
( umask 077; began $$ > "$d/$$" ) || exit 125
cd -- "$w" || exit 125
[ "$group" = "$$" ] || ! command -v setsid >/dev/null || set -- setsid "$@"
echo "$$"
export EVALRUN_PROGRAM="$d/$$/"
{EXPORTS}
exec "$@"
"""
)

# $1: grace, $2: the file of the group.
END = PLAIN + FINISH + '\nfinish "$1" "$2"\n'
