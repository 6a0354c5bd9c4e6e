"""The pytest11 entry point ``evalrun``: options, and the few hooks that notice a suite.

Where there is no ``evalrun.yaml`` nothing else is imported or registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.collectors import DataDirectory, refuse_data, suite_files
from pytest_evalrun.plugin.internals import do_not_rewrite
from pytest_evalrun.plugin.options import add_options, header, read_options, stay_alone
from pytest_evalrun.plugin.suites import Suites, suites_key

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

# So many files are named that are called like a suite and are none.
MOST_SHOWN = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    refuse_data(early_config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    if not config.getoption("eval_job") or hasattr(config, "workerinput"):
        return (yield)
    do_not_rewrite(config, "pytest_evalrun")
    from pytest_evalrun.plugin.engine.job import run_job

    return (yield from run_job(config))


def pytest_configure(config: pytest.Config) -> None:
    stay_alone(config)
    config.stash[suites_key] = Suites(config, _switch_on)
    if config.getoption("eval_job"):
        do_not_rewrite(config, "pytest_evalrun")
        from pytest_evalrun.plugin.engine.job import join_job

        join_job(config, config.stash[suites_key])


def _switch_on(suites: Suites) -> None:
    """The first suite was found, by whichever process."""
    from pytest_evalrun.plugin.fixtures import register

    register(suites.config, suites)


def pytest_unconfigure(config: pytest.Config) -> None:
    if suites_key in config.stash:
        config.stash[suites_key].close()


def pytest_report_header(config: pytest.Config) -> str | None:
    return header(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Directories only: a hook called for every file would cost a project of 50,000 files 50 ms."""
    if parent.config.stash[suites_key].enter(path):
        return DataDirectory.from_parent(parent, path=path)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """A broken suite explains why an item was not found, so its errors come before pytest's own."""
    suites = session.config.stash[suites_key]
    try:
        return (yield)
    except pytest.UsageError:
        suites.raise_errors()
        raise


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """No warning, of which some make an error."""
    foreign = list(config.stash[suites_key].foreign.values())
    for reason in foreign[:MOST_SHOWN]:
        terminalreporter.write_line(f"evalrun: passed over, for it is no suite: {reason}")
    if len(foreign) > MOST_SHOWN:
        terminalreporter.write_line(f"evalrun: passed over {len(foreign) - MOST_SHOWN} more")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """``-n auto`` is the number of GPU slots where suites need GPUs; xdist's own number otherwise."""
    if not (files := list(suite_files(config))):
        return None
    from pytest_evalrun.plugin.machine import slots_of

    return slots_of(files, read_options(config)) or None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.config.stash[suites_key].tell(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """The controller collects nothing: it learns of suites from what its workers published."""
    suites = node.config.stash[suites_key]
    suites.read_published()
    suites.raise_errors()
    if suites.active:
        from pytest_evalrun.plugin.controller import controller

        plugin = controller(node.config, suites)
        plugin.collected(ids)
        plugin.schedule(ids)
