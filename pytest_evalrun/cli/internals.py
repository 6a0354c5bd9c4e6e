"""The command needs this of what pytest keeps to itself; all of pytest takes as long to import as the command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def compile_keywords(expression: str) -> Callable[[Callable[..., bool]], bool]:
    """pytest's own ``-k``: asked with a function that says whether a name matches. Raises SyntaxError."""
    from _pytest.mark.expression import Expression

    return Expression.compile(expression).evaluate


def project_of(
    paths: Sequence[str], here: Path, inifile: str | None, overrides: Sequence[str] | None, rootdir: str | None
) -> tuple[Path, dict[str, Any]]:
    """rootdir, and what its ini file says, without loading the plugins and every conftest.py of the project.

    Since 9.0 this function takes the overrides and answers with values that know their origin. Raises ValueError for an
    ini file that cannot be read.
    """
    from _pytest.config import UsageError
    from _pytest.config.findpaths import determine_setup

    given = {"inifile": inifile, "override_ini": overrides, "args": list(paths), "rootdir_cmd_arg": rootdir}
    try:
        root, _, ini, *_ = determine_setup(**given, invocation_dir=here)  # type: ignore[arg-type]
    except UsageError as error:
        raise ValueError(str(error)) from None
    return root, {key: value.value for key, value in ini.items()}
