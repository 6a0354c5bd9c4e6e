"""The command of ``evalrun`` that prints what may stand in evalrun.yaml, for editors."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of evalrun.yaml, which editors take to check and to complete it."""
    from pytest_evalrun.report.screen import print_json
    from pytest_evalrun.suite.jsonschema import suite_schema

    print_json(suite_schema())
