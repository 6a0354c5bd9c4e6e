"""The run as everybody sees it who watches: one look for all, only what changed, and nothing that waits in a queue."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from pytest_evalrun.monitor.reader import SnapshotReader
from pytest_evalrun.monitor.web import watch as watching
from pytest_evalrun.monitor.web.watch import Watch
from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.rundir.runs import BoardRecord, add_manifest
from pytest_evalrun.suite.devices import DeviceSpec
from pytest_evalrun.suite.pairs import PairKey


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Results are told of at once."""
    monkeypatch.setattr(watching, "RESULTS_INTERVAL", 0.0)


def looked(paths, *steps, interval=0.01):
    """Look once before each step, and after the last: what a watcher is told each time."""

    async def go():
        watch = Watch(paths, interval)
        watcher, told = watch.watcher(), []
        for step in (None, *steps):
            if step:
                step()
            await watch.look()
            told.append(events_of(await watcher.next(0.01)))
        watch.close()
        return watch, told

    return asyncio.run(go())


def events_of(raw):
    found = {}
    for block in raw.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found[fields["event"]] = json.loads(fields["data"])
    return found


def test_only_what_changed_is_told(run):
    """First everything but the list of pairs, then the parts that are other ones by now."""
    _, (first, second, third) = looked(run.start().paths, lambda: run.item("echo/a/one"), lambda: None)
    assert first["snapshot"].keys() == {*SnapshotReader(run.paths).look().facts(), "slots", "boards"}
    assert first["snapshot"]["session"] == "live"
    assert {"running", "counts"} <= second["snapshot"].keys()
    assert second["snapshot"].keys().isdisjoint({"run", "host", "session", "problems"})
    assert third.keys() <= {"snapshot"}
    assert third.get("snapshot", {}).keys() <= {"progress", "running"}


def test_running_pairs_have_their_places_in_the_page(run):
    """Those of shards lead to their pair; so do the pairs that failed and the slowest."""
    run.start()
    run.item("echo/a/one/0-10")
    run.item("echo/dir/b/two", "gw1")
    run.ended("echo/dir/b/two", "failed", "gw1")
    _, (told,) = looked(run.paths)
    running = told["snapshot"]["running"]
    assert [(each["anchor"], each["shard"]) for each in running] == [(anchor_of(PairKey("echo", "a", "one")), "0-10")]
    place = anchor_of(PairKey("echo", "dir_b", "two"))
    assert [each["anchor"] for each in told["snapshot"]["failed"] + told["snapshot"]["slowest"]] == [place, place]


def test_who_has_which_slot(run):
    """GPUs and boards, with the pair that is evaluated there, or none while a model stays loaded."""
    run.start()
    run.worker("gw0").write("slot_taken", "echo/a/one", gpus=[0, 1])
    run.worker("gw1").write("slot_taken", "echo/a/two", device="board-7")
    run.item("echo/a/one", "gw0")
    boards = [BoardRecord(DeviceSpec(name=name, host=name), "/tmp", (), ()) for name in ("board-8", "board-7")]
    add_manifest(run.paths, {}, (), boards)
    _, (told, ended) = looked(run.paths, run.end)
    assert told["snapshot"]["slots"] == [
        {"worker": "gw0", "slot": "GPU 0,1", "pair": "echo/a/one"},
        {"worker": "gw1", "slot": "board-7", "pair": None},
    ]
    assert told["snapshot"]["boards"] == [
        {"board": "board-7", "state": "in use", "pair": None},
        {"board": "board-8", "state": "free", "pair": None},
    ]
    assert ended["snapshot"]["slots"] == ended["snapshot"]["boards"] == []


def test_text_of_others_is_safe(run):
    """What stands in a log or a reason turns no line round and moves no cursor."""
    run.start()
    run.log.write("INFO", "a\u202eb\x1b[2Jc")
    _, (told,) = looked(run.paths)
    assert told["snapshot"]["log"][-1].endswith("a\\u202eb\\x1b[2Jc")


def test_results_are_told_of_when_a_pair_ends(run):
    """Once for what ended, when the run ends too; not for what goes on."""
    run.start()
    run.item("echo/a/one")
    _, told = looked(run.paths, lambda: run.state("echo/a/one"), lambda: run.ended("echo/a/one"), lambda: run.end())
    assert ["results" in each for each in told] == [False, False, True, True]
    assert told[3]["snapshot"]["session"] == "ended"


def test_results_are_not_told_of_too_often(run, monkeypatch):
    """While pairs end one after the other the page is made now and then; what came last is told in the end."""
    monkeypatch.setattr(watching, "RESULTS_INTERVAL", 3600.0)
    run.start()
    ends = [lambda name=name: run.ended(f"echo/a/{name}") for name in ("one", "two", "three")]
    watch, told = looked(run.paths, *ends)
    assert ["results" in each for each in told] == [False, False, False, False]
    watch.results_interval = 0.0

    async def later():
        watch._thread = ThreadPoolExecutor(1)
        await watch.look()
        watch.close()

    asyncio.run(later())
    assert watch.results == 1


def test_the_end_of_a_session_is_told_at_once(run, monkeypatch):
    """However rarely results are told of: nobody waits for the verdict of a run that has ended."""
    monkeypatch.setattr(watching, "RESULTS_INTERVAL", 3600.0)
    run.start()
    _, told = looked(run.paths, lambda: run.ended("echo/a/one"), lambda: run.end())
    assert ["results" in each for each in told] == [False, False, True]


def test_who_is_slow_gets_the_newest(run):
    """Whoever took nothing for a while gets each part once, as it is now, and not what was between."""
    run.start()

    async def go():
        watch = Watch(run.paths, 0.01)
        slow, quick = watch.watcher(), watch.watcher()
        sizes = []
        for number in range(50):
            run.log.write("INFO", f"line {number} of many")
            await watch.look()
            sizes.append(len(await quick.next(0.01)))
        told = await slow.next(0.01)
        watch.close()
        return sizes, told

    sizes, told = asyncio.run(go())
    assert told.count(b"line 0 of many") == 1
    assert told.count(b"event: snapshot") == 1
    assert len(told) < sum(sizes) / 10


def test_nobody_looks_while_nobody_watches(run):
    """Looks begin with the first watcher, are shared by all, and end with the last."""
    run.start()

    async def go():
        watch = Watch(run.paths, 0.01)
        await asyncio.sleep(0.05)
        before = watch.looks
        async with watch.watcher() as one, watch.watcher() as two:
            await one.next(5)
            await two.next(5)
            assert watch.version >= 1
        await asyncio.sleep(0.03)
        after = watch.looks
        await asyncio.sleep(0.1)
        left = watch.looks
        async with watch.watcher() as again:
            await again.next(5)
        watch.close()
        return before, after, left

    before, after, left = asyncio.run(go())
    assert before == 0
    assert after == left


def test_snapshot_is_looked_at_for_all_who_ask(shown, run):
    """Asked for without events it is as old as an interval at most; the list of pairs comes for who wants it."""
    run.item("echo/a/one")
    status, told = shown.json("/api/snapshot")
    assert status == 200
    assert [each["pair"] for each in told["running"]] == ["echo/a/one"]
    assert "tasks" not in told
    _, told = shown.json("/api/snapshot?tasks=1")
    assert told["tasks"] == SnapshotReader(run.paths).look().to_json()["tasks"]


def test_fifty_watchers_see_the_same(shown, run):
    """Each is told of each change, by the looks of one."""
    with ExitStack() as stack:
        streams = [stack.enter_context(shown.events()) for _ in range(50)]
        for stream in streams:
            stream.until(lambda state: state["session"] == "live")
        run.item("echo/a/one")
        for stream in streams:
            stream.until(lambda state: [each["pair"] for each in state.get("running", ())] == ["echo/a/one"])
        assert shown.server._watch.watchers == 50


def test_too_many_watchers_are_refused(shown, monkeypatch):
    """Whoever comes when there are far too many is told so; the others stay."""
    monkeypatch.setattr("pytest_evalrun.monitor.web.server.MOST_WATCHERS", 1)
    with shown.events() as stream:
        stream.next()
        assert shown.json("/api/events")[0] == 503


def test_who_reads_nothing_holds_nobody_up(shown, run):
    """A browser that is stopped costs its connection; others go on, and the server ends in time."""
    with socket.create_connection(("127.0.0.1", shown.port)) as stopped:
        stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        stopped.sendall(f"GET {shown.base}/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with shown.events() as stream:
            stream.until(lambda state: state["session"] == "live")
            for _ in range(20):
                run.log.write("INFO", "x" * 50_000)
            state = stream.until(lambda state: len(state["log"]) > 20)
    assert state["session"] == "live"


def test_run_ends_under_it(shown, run):
    """Whoever watches is told, and may look at everything afterwards."""
    run.item("echo/a/one")
    with shown.events() as stream:
        stream.until(lambda state: state["session"] == "live")
        run.ended("echo/a/one")
        run.end()
        state = stream.until(lambda state: state["session"] == "ended")
    assert state["running"] == []
    assert shown.json("/api/snapshot")[1]["session"] == "ended"


def test_run_is_killed_under_it(shown, run):
    """A session that died without a word is told of, with the command to carry on."""
    run.item("echo/a/one")
    with shown.events() as stream:
        stream.until(lambda state: state["session"] == "live")
        run.die()
        state = stream.until(lambda state: state["session"] == "dead" and state["death"])
    assert state["death"]["command"] == "pytest evals -n 2"


def test_directory_goes_away_under_it(shown, run):
    """The page says so, the server lives, and goes on when the run is there again."""
    with shown.events() as stream:
        stream.until(lambda state: state["session"] == "live")
        moved = run.paths.root.rename(run.paths.root.with_name("moved"))
        state = stream.until(lambda state: state["session"] == "gone")
        assert state["problems"] == [f"{run.paths.root}: the run directory is gone"]
        assert state["running"] == []
        assert shown.json("/api/pair?anchor=p0")[0] == 404
        moved.rename(run.paths.root)
        stream.until(lambda state: state["session"] == "live" and state["problems"] == [])
    shutil.rmtree(run.paths.root)
    assert shown.json("/api/snapshot")[0] == 200


def test_damage_ends_no_server(shown, run):
    """Files that hold something else than they should are told of as in the terminal."""
    run.paths.session_json.write_text("{")
    run.paths.task_list.write_bytes(b"\xff\x00nothing")
    with shown.events() as stream:
        problems = " ".join(stream.until(lambda state: len(state["problems"]) >= 2)["problems"])
    assert "session.json is damaged" in problems
    assert ".task_list is damaged" in problems
    assert shown.json("/api/snapshot")[0] == 200
