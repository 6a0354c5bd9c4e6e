"""What of a launch's command line its jobs get: plugins, and every option that says how an item runs or is reported.

A conftest.py or a plugin of the user's may have options that his tests ask for: without them they would run with other
values than he gave, and nobody would notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.plugin.internals import builtin_options, command_line_options

if TYPE_CHECKING:
    from argparse import Action
    from collections.abc import Iterator

    import pytest

# Of pytest's own options, those that shape what an item does, or what is told of it.
OF_ITEMS = frozenset(
    {"verbose", "runxfail", "showlocals", "tbstyle", "xfail_tb", "showcapture", "fulltrace", "capture", "importmode"}
    | {"strict", "strict_config", "strict_markers", "assertmode", "log_level", "log_format", "log_date_format"}
    | {"log_auto_indent", "logger_disable", "noconftest", "confcutdir", "disable_plugin_autoload"}
)
# What only writes reports, or is about processes: the launch does that.
REPORTING = ("eval_", "cov", "no_cov", "html", "css", "self_contained_html", "allure", "json_report", "report_log")
OF_XDIST = ("numprocesses", "maxprocesses", "maxworkerrestart", "dist", "tx", "px", "rsync", "looponfail", "testrunuid")
PREFIXES = (*REPORTING, *OF_XDIST, "maxschedchunk")
# Of the ini keys that a command line overrides, what a job has no use for, or must not have written down.
OF_THE_LAUNCH = ("addopts=", "eval_notify")
# The plugins that a job is started with, or without, whatever its launch was.
PLUGINS = frozenset({"no:cacheprovider", "cacheprovider", "xdist", "no:xdist", "no:terminal"})


def handed_on(config: pytest.Config) -> list[str]:
    """The words, as a command line has them."""
    option = config.option
    plugins = [name for name in option.plugins or () if name not in PLUGINS]
    warnings = config.known_args_namespace.pythonwarnings or ()
    ini = [text for text in option.override_ini or () if not text.startswith(OF_THE_LAUNCH)]
    given = [("-p", plugins), ("-W", warnings), ("-o", ini)]
    words = [word for flag, values in given for value in values for word in (flag, value)]
    return [*words, *_options(config)]


def _options(config: pytest.Config) -> Iterator[str]:
    builtin = builtin_options()
    actions = list(command_line_options(config))
    # Of several for one value the first says what it is by itself.
    defaults = {action.dest: action.default for action in reversed(actions)}
    told = set[str]()
    for action in actions:
        dest = action.dest
        wanted = dest in OF_ITEMS if dest in builtin else not dest.startswith(PREFIXES)
        value = getattr(config.option, dest, defaults[dest])
        if wanted and dest not in told and value != defaults[dest] and (words := _words(action, value)):
            told.add(dest)
            yield from words


def _words(action: Action, value: Any) -> list[str]:
    """Say an option again; none where this flag cannot say the value: another of the same option may."""
    name = max(action.option_strings, key=len, default="")
    if not name:
        return []
    if action.nargs == 0:
        if type(value) is int and action.const is None and value > 0:  # it counts how often it is given
            return [name] * value
        return [name] if value == action.const else []
    values = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str | int | float | Path) for one in values):
        return []
    if action.nargs is None:
        return [f"{name}={one}" for one in values] if name.startswith("--") else [f"{name}{one}" for one in values]
    return [name, *map(str, values)]
