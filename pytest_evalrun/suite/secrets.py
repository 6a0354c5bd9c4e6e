"""``${NAME}`` in settings: read from the environment only where it is used, never shown."""

from __future__ import annotations

import json
import os
import re
import shlex
from bisect import bisect_right
from codecs import getincrementaldecoder
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from re import Pattern

    from pytest_evalrun.suite.discovery import Suite

BLANK = "***"
# A secret of three letters would blank half of every log; so would such a line of a secret.
SHORTEST = 4
# What is shorter may be a common word, like the password `root`: it is blanked only where it must be the secret.
SHORTEST_ANYWHERE = 12
# As many letters before a short value say that it is the secret, at most.
CONTEXT = 5

_SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Of a board: the name of the environment variable that holds its password.
_OF_A_BOARD = "password_env"
# The names of those that jobs are handed.
_OF_JOBS = "secrets_env"


def expand(value: Any, environ: Mapping[str, str] = os.environ) -> Any:
    """The same structure with every ``${NAME}`` read from the environment. Raises ConfigError where it is not set."""
    if isinstance(value, str):
        return _SECRET.sub(lambda match: _value(match[1], environ), value) if "${" in value else value
    if isinstance(value, dict):
        return {key: expand(entry, environ) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [expand(entry, environ) for entry in value]
    return value


def _value(name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        host = os.uname().nodename  # of a job that is not the one where somebody has set it
        raise ConfigError(f"${{{name}}}: the environment variable {name} is not set on {host}; set it before the run")
    return environ[name]


def secret_names(value: Any) -> set[str]:
    """The names of all secrets that a structure asks for, passwords of boards and what jobs are handed included."""
    if isinstance(value, str):
        return set(_SECRET.findall(value))
    own: set[str] = set()
    if isinstance(value, dict):
        named = [value.get(_OF_A_BOARD), *_listed(value.get(_OF_JOBS))]
        own = {name for name in named if isinstance(name, str)}
        value = value.values()
    elif not isinstance(value, list | tuple | set):
        return set()
    return own.union(*map(secret_names, value))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def secrets_of(
    suites: Iterable[Suite], environ: Mapping[str, str] = os.environ, *, also: Iterable[str] = ()
) -> Secrets:
    """Collect every secret that the suites ask for, and ``also`` these texts."""
    layers = {id(layer): layer for suite in suites for pair in suite.pairs for layer in pair.layers}
    names = secret_names([*also, *(dict(layer.values) for layer in layers.values())])
    return Secrets(tuple(environ[name] for name in sorted(names) if name in environ))


@dataclass(frozen=True)
class Secrets:
    """Values that must not be seen, and how they are blanked; without any, nothing is looked at.

    A value of 12 characters or more is blanked wherever it stands, as it is or as shells, Python, JSON, CSV and URLs
    write it, and so is each line over 3 characters of one of several lines. A shorter one is blanked as
    ``NAME=value`` and in the words of a command.
    """

    values: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._long or self._short)

    def blank(self, text: str) -> str:
        """The text as it may be written down and shown."""
        return _blanked(self._anywhere, text) if self else text

    def blank_until(self, text: str, at: int, end: int, stop: int) -> tuple[str, int]:
        """Blank the text from ``at`` to ``stop``; up to ``end`` it was before. Returns it and the new ``end``."""
        return _blanked_until(self._anywhere, text, at, end, stop)

    def words(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Blank the words of a command; in a shell's script its words."""
        return tuple(_blanked(self._in_commands, word) for word in argv) if self else tuple(argv)

    @property
    def hides_in_predictions(self) -> bool:
        """Whether any of them is long enough to be blanked in what a model answers."""
        return bool(self._long)

    def prediction(self, value: Any) -> Any:
        """Blank long secrets in what a model answered, in builtins; the same object where it holds none."""
        return _walked(value, lambda text: _blanked(self._predicted, text)) if self._long else value

    def fields(self, value: Any) -> Any:
        """A structure of builtins with every text in it blanked."""
        return _walked(value, self.blank) if self else value

    def decided(self, text: str, start: int) -> int:
        """Find up to where it is known, from ``start`` on, what is secret: what comes next may make one of the rest.

        Where a line ends, by a carriage return too, nothing is waited for.
        """
        after_line = max(text.rfind("\n"), text.rfind("\r")) + 1
        for found in self._first_letters.finditer(text, max(start, after_line, len(text) - self._longest)):
            if self._may_become_one(text[found.start() :]):
                return found.start()
        return len(text)

    def _may_become_one(self, end: str) -> bool:
        """Tell whether this, and something more, is a secret."""
        at = bisect_right(self._awaited, end)
        return at < len(self._awaited) and self._awaited[at].startswith(end)

    @cached_property
    def _awaited(self) -> list[str]:
        """All forms, sorted; a short value stands there with what must follow before it can be told from a word."""
        short = {form for value in self._short for form in written(value)}
        return sorted(self._forms.union(f"{form}.\0" for form in short))

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._awaited), default=0)

    @cached_property
    def _first_letters(self) -> Pattern[str]:
        return re.compile(f"[{''.join(re.escape(letter) for letter in sorted({form[0] for form in self._awaited}))}]")

    @cached_property
    def _long(self) -> list[str]:
        return [value for value in self.values if len(value.strip()) >= SHORTEST_ANYWHERE]

    @cached_property
    def _short(self) -> list[str]:
        return [value for value in map(str.strip, self.values) if SHORTEST <= len(value) < SHORTEST_ANYWHERE]

    @cached_property
    def _forms(self) -> frozenset[str]:
        return self._written(SHORTEST)

    def _written(self, shortest: int) -> frozenset[str]:
        """The long ones and what is so long of their lines, in all forms."""
        parts = {part for value in self._long for part in _parts(value) if len(part) >= shortest}
        return frozenset(form for part in parts for form in written(part))

    @cached_property
    def _predicted(self) -> Pattern[str]:
        return re.compile(_any_of(self._written(SHORTEST_ANYWHERE)))

    @cached_property
    def _anywhere(self) -> Pattern[str]:
        return self._pattern(_AS_VALUE)

    @cached_property
    def _in_commands(self) -> Pattern[str]:
        return self._pattern(_AS_VALUE, *_AS_WORD)

    def _pattern(self, *places: str) -> Pattern[str]:
        """The long ones anywhere, the short ones in these places."""
        short = _any_of(form for value in self._short for form in written(value))
        anywhere = [_any_of(self._forms)] if self._forms else []
        return re.compile("|".join([*anywhere, *(place.format(short) for place in places if self._short)]))


NO_SECRETS = Secrets()

# Where a short value is the secret and no common word: NAME=value, also as Python and JSON write an environment.
_AS_VALUE = r"""(?:(?<=\w=)|(?<=\w=['"])|(?<=\w['"]:['"])|(?<=\w['"]:[ ]['"])){}(?![\w/@-]|\.\w)"""
# A word of a command, also behind an option's letter, and a password in a URL; never a part of a path.
_AS_WORD = (r"(?:(?<![\w/.@-])|(?<=\A-\w)|(?<=\s-\w)){}(?![\w/@-]|\.\w)", r"(?<=:){}(?=@)")


def _parts(value: str) -> Iterator[str]:
    """A value as it is and without the blanks around it, and its lines; a newline may stand in it as ``\\n``."""
    yield from (value, value.strip())
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        yield from lines
    yield from (part for part in value.split("\\n") if len(part) >= SHORTEST_ANYWHERE)


def written(text: str) -> set[str]:
    """The text as programs write it, without the quotes around it: once, and once more inside other such text."""
    once = {write(text) for write in _WRITINGS}
    if "\n" in text:  # its lines are told by themselves
        return once
    return once.union(write(form) for form in once for write in _WRITINGS)


_WRITINGS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: shlex.quote(f"{text} ")[1:-2],
    lambda text: text.replace("'", "'\\''"),
    lambda text: re.sub(r"([^\w@%+=:,./-])", r"\\\1", text),
    lambda text: re.sub(r'([\\"$`])', r"\\\1", text),
    lambda text: text.replace('"', '""'),
    lambda text: repr(text)[1:-1],
    lambda text: repr(f"{text}\"'")[1:-4],
    lambda text: ascii(text)[1:-1],
    lambda text: ascii(f"{text}\"'")[1:-4],
    lambda text: repr(text.encode(errors="surrogateescape"))[2:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: quote(text, errors="surrogateescape"),
    lambda text: quote(text, safe="", errors="surrogateescape"),
    lambda text: quote_plus(text, errors="surrogateescape"),
    lambda text: _lower_case(quote(text, safe="", errors="surrogateescape")),
)


def _lower_case(text: str) -> str:
    return re.sub("%..", lambda match: match[0].lower(), text)


def _any_of(forms: Iterable[str]) -> str:
    """A pattern of the longest of them, common beginnings told once: its cost does not grow with their number."""
    branches = []
    for _, group in groupby(sorted(set(forms)), key=lambda form: form[:1]):
        words = list(group)
        start = _beginning(words[0], words[-1])
        rest = [word[len(start) :] for word in words if word != start]
        branches.append(re.escape(start) + (_any_of(rest) + "?" * (start in words) if rest else ""))
    return f"(?:{'|'.join(branches)})"


def _beginning(first: str, last: str) -> str:
    """Return what both begin with; when they are the ends of a sorted list, all of it does."""
    differs = (i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(differs, len(first))]


def _blanked(pattern: Pattern[str], text: str) -> str:
    """Blank all of a text in one pass."""
    told, _ = _blanked_until(pattern, text, 0, 0, len(text))
    return told


def _blanked_until(pattern: Pattern[str], text: str, at: int, end: int, stop: int) -> tuple[str, int]:
    """Blank the text from ``at`` to ``stop``; up to ``end`` it was before. Returns it and the new ``end``.

    What overlaps is one: the rest of a secret must not stay because another begins in it.
    """
    parts = []
    end = max(at, end)
    while (found := pattern.search(text, at)) and found.start() < stop:
        if found.start() >= end:
            parts += [text[end : found.start()], BLANK]
        end, at = max(end, found.end()), found.start() + 1
    return ("".join([*parts, text[end:stop]]) if parts else text[end:stop]), end


def _walked(value: Any, change: Callable[[str], str]) -> Any:
    """The same structure with every text in it changed; the very same object where nothing is."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        entries = [(_walked(key, change), _walked(entry, change)) for key, entry in value.items()]
        same = all(new[0] is key and new[1] is entry for new, (key, entry) in zip(entries, value.items(), strict=True))
        return value if same else dict(entries)
    if isinstance(value, list | tuple):
        found = [_walked(entry, change) for entry in value]
        return value if all(new is old for new, old in zip(found, value, strict=True)) else found
    return value


class BlankedStream:
    """A stream of bytes without the secrets, one of which may come in two chunks.

    All goes on at once but what a secret may begin with, which waits for what follows it; it is never longer than one.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._forget()

    def _forget(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("surrogateescape")
        # A few letters that have gone on, which tell a short secret from a word; from ``_at`` on, what waits.
        self._text = ""
        self._at = 0
        # Up to here a secret was blanked that has gone on.
        self._end = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk; returns what can be told by now."""
        return self._told(chunk) if self._secrets else chunk

    def finish(self) -> bytes:
        """Return what still waited; what is fed from now on is another stream."""
        rest = self._told(b"", final=True) if self._secrets else b""
        self._forget()
        return rest

    def _told(self, chunk: bytes, *, final: bool = False) -> bytes:
        text = self._text + self._decoder.decode(chunk, final)
        stop = len(text) if final else self._secrets.decided(text, self._at)
        told, end = self._secrets.blank_until(text, self._at, self._end, stop)
        kept = max(0, stop - CONTEXT)
        self._text, self._at, self._end = text[kept:], stop - kept, end - kept
        return told.encode(errors="surrogateescape")
