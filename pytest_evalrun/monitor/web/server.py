"""What the page asks for: the run as it stands, its events, pairs, samples, logs and files. Nothing is changed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_evalrun.monitor.gauge import places
from pytest_evalrun.monitor.web.choosing import SampleQuery
from pytest_evalrun.monitor.web.door import Door, NotShown, guard_headers, json_answer
from pytest_evalrun.monitor.web.files import SampleFiles, below, send_file
from pytest_evalrun.monitor.web.found import FoundPairs
from pytest_evalrun.monitor.web.logtext import STAGES, LogTexts
from pytest_evalrun.monitor.web.samplepages import SamplePages
from pytest_evalrun.monitor.web.watch import Watch
from pytest_evalrun.report.html.safejson import safe_json
from pytest_evalrun.rundir.enginepaths import EnginePaths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from aiohttp import web

    from pytest_evalrun.monitor.reader import SnapshotReader
    from pytest_evalrun.monitor.web.found import FoundPair
    from pytest_evalrun.monitor.web.pages import ServedPage
    from pytest_evalrun.rundir.layout import RunPaths

# So often whoever watches hears that the server is there, in seconds; and so long he may take for what he is sent.
HEARTBEAT = 15.0
SLOWEST = 60.0
# Each is a connection and a place in the loop; more of them are a mistake of somebody.
MOST_WATCHERS = 256
_EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
_DIGITS = 15


class RunServer:
    """One run behind a door. ``base`` is the path below which everything lies; ``page`` makes what a person sees."""

    def __init__(self, paths: RunPaths, token: str, page: ServedPage) -> None:
        self.base = f"/t/{token}"
        self._paths = paths
        self._page = page
        self._watch = Watch(paths)
        self._pairs = FoundPairs(paths)
        self._logs = LogTexts()
        self._named = SampleFiles(token.encode())
        self._samples = SamplePages(page.sources, self._link, page.before, page.secrets)
        # Of samples and pages one thing at a time is looked through: whoever watches must not notice it.
        self._thread = ThreadPoolExecutor(1, "evalrun-view")
        self._door = Door(
            token,
            {
                "": self._show_page,
                "api/": self._show_call,
                "files/": self._show_file,
            },
        )
        self._calls: Mapping[str, Callable[[web.Request], Any]] = {
            "snapshot": self._snapshot,
            "events": self._events,
            "page": self._sections,
            "pair": self._pair,
            "samples": self._sample_page,
            "log": self._log,
        }

    def application(self) -> web.Application:
        """Make what a server runs; it lets all watchers go when it ends."""
        from aiohttp import web

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._door.answer)
        application.on_response_prepare.append(guard_headers)
        application.on_shutdown.append(self._end)
        return application

    async def _end(self, _: web.Application) -> None:
        self._watch.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def _show_page(self, request: web.Request, _: str) -> web.StreamResponse:
        from aiohttp import web

        if not request.path.endswith("/"):  # what the page asks for lies below it
            return web.Response(status=302, headers={"Location": f"{self.base}/"})
        await self._watch.refresh()  # what changes from here on is told to whoever has this page
        made = await self._in_thread(self._page.whole, self.base, self._watch.results)
        self._watch.results_interval = self._page.pause
        headers = {"Content-Security-Policy": f"{made.policy}; frame-ancestors 'none'"}
        return web.Response(body=made.body, content_type="text/html", charset="utf-8", headers=headers)

    async def _show_call(self, request: web.Request, name: str) -> web.StreamResponse:
        call = self._calls.get(name)
        if call is None:
            raise NotShown(404, f"no such call; there are: {', '.join(self._calls)}")
        answer: web.StreamResponse = await call(request)
        return answer

    async def _snapshot(self, request: web.Request) -> web.Response:
        return json_answer(await self._watch.snapshot(tasks=request.query.get("tasks") == "1"))

    async def _sections(self, _: web.Request) -> web.Response:
        from aiohttp import web

        made = await self._in_thread(self._page.sections, self._watch.results)
        self._watch.results_interval = self._page.pause
        return web.Response(body=made, content_type="text/html", charset="utf-8")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Tell what changes until the watcher leaves, is too slow for one piece, or the server ends."""
        from aiohttp import web

        if self._watch.watchers >= MOST_WATCHERS:
            raise NotShown(503, f"{MOST_WATCHERS} watch already")
        response = web.StreamResponse(headers=_EVENTS)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async with self._watch.watcher() as watcher:
            with suppress(ConnectionError, TimeoutError):
                await response.write(b"retry: 2000\n\n")
                while (events := await watcher.next(HEARTBEAT)) is not None:
                    async with asyncio.timeout(SLOWEST):
                        await response.write(events)
        return response

    def _found(self, request: web.Request) -> FoundPair:
        found = self._pairs.find(request.query.get("anchor", ""))
        if found is None:
            raise NotShown(404, "no such pair")
        return found

    async def _pair(self, request: web.Request) -> web.Response:
        found = await self._in_thread(self._found, request)
        return json_answer(await self._in_thread(self._page.detail, found, self.base))

    async def _sample_page(self, request: web.Request) -> web.Response:
        query = request.query
        wanted = SampleQuery(query.get("filter") or "all", query.get("metric", ""), query.get("q", ""))
        found = await self._in_thread(self._found, request)
        page = await self._in_thread(self._samples.page, found, wanted, _number(query.get("page"), "page") or 1)
        return json_answer(safe_json(page))

    async def _log(self, request: web.Request) -> web.Response:
        stage = request.query.get("stage", STAGES[0])
        if stage not in STAGES:
            raise NotShown(404, f"stage: accepted: {', '.join(STAGES)}")
        start = _number(request.query.get("from"), "from")
        found = await self._in_thread(self._found, request)
        await self._watch.refresh()
        files = await self._watch.run_in_reader(lambda reader: _log_files(reader, found, stage))
        return json_answer(safe_json(await self._in_thread(self._logs.piece, files, start)))

    async def _show_file(self, request: web.Request, rest: str) -> web.StreamResponse:
        """Send ``run/NAME`` of the run, ``outputs/ANCHOR/NAME`` of a pair's model, ``sample/NAME`` of a page."""
        root, _, name = rest.partition("/")
        if root == "run":
            return await send_file(request, await asyncio.to_thread(below, self._paths.root, name))
        if root == "outputs":
            anchor, _, name = name.partition("/")
            return await send_file(request, await self._in_thread(self._output, anchor, name))
        if root == "sample":
            return await send_file(request, self._named.find(name))
        raise NotShown(404, "no such file")

    def _output(self, anchor: str, name: str) -> Path:
        found = self._pairs.find(anchor)
        if found is None:
            raise NotShown(404, "no such pair")
        return below(self._page.sources(found).written or found.files.outputs, name)

    def _link(self, path: Path) -> str | None:
        try:
            return f"{self.base}/files/sample/{self._named.name(path)}"
        except (OSError, RuntimeError, ValueError):
            return None  # a link to nowhere, or round in a circle


def _number(text: str | None, what: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise NotShown(400, f"{what}: found {text[:40]!r}; accepted: a number")
    return int(text)


def _log_files(reader: SnapshotReader, pair: FoundPair, stage: str) -> list[Path]:
    """Where the log may lie: in the run, a shard's among those of shards, and in the run of a job that is at it."""
    runs = [reader.paths]
    shards = []
    name = pair.pair
    for running, started in reader.events.timeline.running.items():
        if running != name and not running.startswith(f"{name}/"):
            continue
        if (attempt := EnginePaths(reader.paths).attempt_named(started.worker)) is not None:
            runs.append(attempt.run)
        shards += [place.infer_log for run in runs for place in places(run, running, pair.key.limit)]
    own = [run.pair(pair.key) for run in runs]
    if stage == "eval":
        return [files.eval_log for files in own]
    of_shards = sorted(pair.files.infer_log.with_suffix("").glob("*.log"))
    return [*(files.infer_log for files in own), *of_shards, *shards]
