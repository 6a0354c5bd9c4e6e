"""Messages about a run, from the process that launches it: registered only where ``--eval-notify`` is given.

Whatever happens here, the run notices nothing of it: messages go out in a thread, and what goes wrong is a line at the
end.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.notify.making import link_of, recipients_of
from pytest_evalrun.notify.messages import About, RunEnd, ended, first_error, stalled, started
from pytest_evalrun.notify.occasions import FirstOfAKind, Stalls, age_of_newest
from pytest_evalrun.notify.sender import Sender
from pytest_evalrun.plugin.options import usage_errors
from pytest_evalrun.plugin.reports import outcome_of
from pytest_evalrun.report.commands import carry_on_command
from pytest_evalrun.report.runs import called
from pytest_evalrun.report.verdict import verdict_of
from pytest_evalrun.rundir.costs import money, read_costs
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.layout import WorkDir, key_of
from pytest_evalrun.rundir.tasklist import left_in_words
from pytest_evalrun.suite.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator

    from pytest_evalrun.notify.making import Recipient
    from pytest_evalrun.notify.protocol import Message
    from pytest_evalrun.plugin.controller import Controller
    from pytest_evalrun.rundir.live import LiveRun

PLUGIN = "evalrun-notify"
# Whoever stops a run kills it after ten seconds.
STOPPED_SECONDS = 4.0
# What was only guessed, from the size of files, says nothing of how long is too long.
MEASURED = frozenset({"history", "samples"})


def register_notifying(controller: Controller, *, at_once: bool) -> None:
    """Where messages are wanted. A wrong address is a usage error ``at_once``, or when everything is collected."""
    options, config = controller.suites.options, controller.config
    if options.notify is None or options.cluster.job is not None or config.option.collectonly:
        return
    plugin = Notifying(controller)
    if at_once:
        plugin.check()
    config.pluginmanager.register(plugin, PLUGIN)


class Notifying:
    """Hears what happens to items, and tells those who asked for it."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._since = time.monotonic()
        self._recipients: list[Recipient] = []
        self._link = ""
        self._run: _Told | None = None

    def check(self) -> None:
        """Raise a usage error for an address that is none, and for secrets that are not there."""
        options = self._controller.suites.options
        with usage_errors():
            self._recipients = recipients_of(options.notify or ())
            self._link = link_of(options.notify_link)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self) -> None:
        self.check()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, Any, Any]:
        self._begin()  # where items run in this process, or in jobs, the run is open by now
        return (yield)

    def _begin(self) -> None:
        with self._harmless():
            live = self._controller.live
            if self._run is None and live is not None and self._recipients:
                self._run = _Told(self._controller, live, self._recipients, self._link, self._since)

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Whatever is wrong in here is told, and costs the session nothing but its messages."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - as above
            self._run, self._recipients = None, []
            self._controller.terminal.line(f"no messages any more: {type(error).__name__}: {error}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._begin()
        with self._harmless():
            if self._run is not None:
                self._run.started(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        with self._harmless():
            if self._run is not None and (report.when == "call" or not report.passed):
                self._run.finished(report)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Innermost: while pytest and its plugins sum up, the last message is on its way."""
        try:
            return (yield)
        finally:
            with self._harmless():
                if self._run is not None:
                    self._run.end(int(session.exitstatus))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self) -> None:
        self._wait()

    def pytest_unconfigure(self) -> None:
        """After a crash of pytest nothing was summed up."""
        self._wait()

    def _wait(self) -> None:
        """Ctrl-C ends the waiting."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            with self._controller.sigterm.cuttable():
                run.sender.wait()
        except KeyboardInterrupt:
            pass
        for line in run.sender.troubles():
            self._controller.terminal.line(line)


class _Told:
    """A run that is open, and what people were told of it."""

    def __init__(
        self, controller: Controller, live: LiveRun, recipients: list[Recipient], link: str, since: float
    ) -> None:
        self._controller = controller
        self._live = live
        self._recipients = recipients
        self._since = since
        self._pairs = controller.pairs
        self._over: set[str] = set()
        self._outcomes: Counter[str] = Counter()
        self._first = FirstOfAKind()
        self._kinds: dict[str, str] = {}
        self._limits = sorted({recipient.address.stall_seconds for recipient in recipients})
        options = controller.suites.options
        secrets = secrets_of(controller.suites.found.values(), also=options.notify or ())
        paths = live.paths
        self._about = About(
            suites=frozenset(pair.suite for pair in self._pairs.values()),
            name=paths.root.name,
            place=f"{paths.root} on {socket.gethostname()}",
            link=link.replace("{run}", paths.root.name),
            safe=secrets.blank,
        )
        self._stalls = Stalls(self._expected(), self._newest)
        self.sender = Sender(self._tick)
        self._say(started(self._about, len(self._pairs)), lambda recipient: recipient.address.start)

    def _say(self, message: Message, wanted: Callable[[Recipient], bool] = lambda _: True) -> None:
        self.sender.put(message, [recipient for recipient in self._recipients if wanted(recipient)])

    def _expected(self) -> dict[str, float]:
        """The seconds that pairs should take, by the names of their items, where something like it was measured."""
        known = self._controller.expected
        found = ((pair, known.get(pair.whole.full_id)) for pair in self._pairs.values())
        return {pair.full_id: one.seconds + one.load for pair, one in found if one and one.source in MEASURED}

    # ------------------------------------------------------------------ while it goes on

    def started(self, nodeid: str) -> None:
        if (pair := self._pairs.get(nodeid)) is not None and pair.skip is None:
            self._stalls.started(pair.full_id)

    def finished(self, report: Any) -> None:
        """An ordinary test that ends is a sign of life, too."""
        pair = self._pairs.get(report.nodeid)
        self._stalls.finished(pair.full_id if pair is not None else report.nodeid)
        if pair is None:
            return
        outcome = outcome_of(report)
        self._over.add(report.nodeid)
        self._outcomes[outcome] += 1
        kind = str(getattr(report, "evalrun", {}).get("kind", ""))
        if outcome == "error" and kind:
            self._kinds[pair.whole.full_id] = kind
            if self._first.is_first(kind):
                self._say(first_error(self._about, pair.whole.full_id, kind, len(self._over), len(self._pairs)))

    def _tick(self) -> None:
        for limit in self._limits:
            if (stall := self._stalls.look(limit)) is not None:
                message = stalled(self._about, stall, len(self._over), len(self._pairs))
                self._say(message, lambda recipient, limit=limit: recipient.address.stall_seconds == limit)  # type: ignore[misc]

    def _newest(self, running: Collection[str]) -> float | None:
        """Seconds since samples of what runs were predicted, here or in jobs; None where nothing is known of it."""
        engine = self._controller.engine
        keys = [key_of(pair) for pair in self._pairs.values() if engine is not None or pair.full_id in running]
        places = [self._live.paths]
        if engine is not None:
            places += [attempt.run for attempt in EnginePaths(self._live.paths).attempts()]
        return age_of_newest(place.pair(key).state for place in places for key in keys)

    # ------------------------------------------------------------------ the end

    def end(self, code: int) -> None:
        """The last message. Who stops a run does not wait for long."""
        end = self._ended(code)
        self.sender.close(ended(self._about, end), self._recipients, STOPPED_SECONDS if end.stopped else None)

    def _ended(self, code: int) -> RunEnd:
        controller, live = self._controller, self._live
        summary, info = controller.terminal.summary, live.session.info
        by = controller.sigterm.by
        spent, _ = read_costs(live.paths.costs, live.session.run_id)
        workdir = WorkDir(controller.suites.options.workdir)
        return RunEnd(
            verdict=verdict_of(summary) if summary is not None else None,
            stopped=None if by is None else info.stopped or by,
            crashed=code == pytest.ExitCode.INTERNAL_ERROR,
            seconds=time.monotonic() - self._since,
            code=int(pytest.ExitCode.INTERRUPTED) if by is not None else code,
            costs=[f"{money(spent.of(currency), currency)} in this run" for currency in sorted(spent.amounts)],
            left=left_in_words(live.tasks.counts()),
            outcomes=self._outcomes,
            carry_on=carry_on_command(info.argv, called(workdir, live.paths)),
            kinds=self._kinds,
        )
