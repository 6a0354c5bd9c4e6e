"""The pytest11 entry point ``evalrun``: the hooks of ``hooks.py``, by name, which is how pytest finds them."""

from __future__ import annotations

from pytest_evalrun.plugin.hooks import (
    pytest_addoption,
    pytest_cmdline_main,
    pytest_collect_directory,
    pytest_collection,
    pytest_configure,
    pytest_configure_node,
    pytest_load_initial_conftests,
    pytest_report_header,
    pytest_terminal_summary,
    pytest_unconfigure,
    pytest_xdist_auto_num_workers,
    pytest_xdist_node_collection_finished,
)

__all__ = [
    "pytest_addoption",
    "pytest_cmdline_main",
    "pytest_collect_directory",
    "pytest_collection",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_load_initial_conftests",
    "pytest_report_header",
    "pytest_terminal_summary",
    "pytest_unconfigure",
    "pytest_xdist_auto_num_workers",
    "pytest_xdist_node_collection_finished",
]
