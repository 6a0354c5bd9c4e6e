"""Reports that jobs wrote become pytest's own, in the process that launched them, as if their items had run here."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.rundir.reportlines import WARNING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Replay:
    """Everybody who listens to reports hears what they would of an item that runs here: pytest, its plugins, ours.

    Whether the session is to end after an item (``-x``, ``--maxfail``, ``--sw``) stands in ``session.shouldfail`` and
    ``session.shouldstop`` then.
    """

    def __init__(self, session: pytest.Session) -> None:
        self._config = session.config
        self._hook = session.config.hook

    def item(self, line: Mapping[str, Any]) -> None:
        """Replay an item that has ended: ``id``, and all its ``reports`` as ``pytest_report_to_serializable`` has them.

        What cannot be read is an error of the item, for nobody knows how it ended.
        """
        nodeid: str = line["id"]
        reports = [self._report(nodeid, content) for content in line["reports"]]
        if not reports:
            reports = [_unreadable(nodeid, "its job told nothing of it")]
        location = reports[0].location
        self._hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        for report in reports:
            self._hook.pytest_runtest_logreport(report=report)
        self._hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)

    def warning(self, line: Mapping[str, Any]) -> None:
        """Replay a warning of an item, as :func:`warning_line` tells of it."""
        location = line["location"]
        told = {
            "warning_message": _warning(line),
            "when": line["when"],
            "nodeid": line["id"],
            "location": None if location is None else tuple(location),
        }
        self._hook.pytest_warning_recorded.call_historic(kwargs=told)

    def _report(self, nodeid: str, content: dict[str, Any]) -> Any:
        try:
            report = self._hook.pytest_report_from_serializable(config=self._config, data=content)
            if report is not None:
                _restore_tuples(report)
        except Exception as error:  # noqa: BLE001 - of whatever plugin it is, it must not end the session
            return _unreadable(nodeid, f"its report cannot be read: {type(error).__name__}: {error}")
        if report is None:
            return _unreadable(nodeid, "its report is of a plugin of pytest's that is not loaded here")
        return report


def _restore_tuples(report: Any) -> None:
    """JSON knows lists alone; pytest and its plugins look for tuples: the ``longrepr`` of a skip is one."""
    if isinstance(report.longrepr, list):
        report.longrepr = tuple(report.longrepr)
    report.location = tuple(report.location)
    report.sections = [tuple(section) for section in report.sections]
    report.user_properties = [tuple(entry) for entry in report.user_properties]


def _unreadable(nodeid: str, reason: str) -> pytest.TestReport:
    path, _, name = nodeid.partition("::")
    return pytest.TestReport(nodeid, (path, None, name), {}, "failed", f"{nodeid}: {reason}", "setup")


# ------------------------------------------------------------------ warnings


def warning_line(
    message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
) -> dict[str, Any]:
    """What a job writes of a warning that pytest recorded: plain values, without the object that it was about."""
    category = message.category
    return {
        "kind": WARNING,
        "id": nodeid,
        "when": when,
        "location": location,
        "text": str(message.message),
        "category": f"{category.__module__}:{category.__qualname__}",
        "file": message.filename,
        "line": message.lineno,
    }


def _warning(line: Mapping[str, Any]) -> warnings.WarningMessage:
    category = _category(line["category"])
    try:
        message = category(line["text"])
    except Exception:  # noqa: BLE001 - a class of somebody's own that wants to be told more
        message = Warning(line["text"])
    return warnings.WarningMessage(message, category, line["file"], line["line"])


def _category(name: str) -> type[Warning]:
    """The class of a warning where it is known here; nothing is imported for a name, one of the same name will do."""
    module, _, qualified = name.partition(":")
    found = getattr(sys.modules.get(module), qualified, None)
    if isinstance(found, type) and issubclass(found, Warning):
        return found
    return type(qualified, (Warning,), {"__module__": module})
