"""The hash cache: never a stale hash, and no file read twice for nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from pytest_evalrun.rundir import hashes, hashstore
from pytest_evalrun.rundir.hashes import HashCache

ODD = ["two words", 'it\'s "q"', "$(x)", "任务", "n" * 200, "new\nline", os.fsdecode(b"\xff")]


class Work:
    """A work directory, caches over its one file, and what they read and warned of."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.db = root / "hashes.db"
        self.read: list[str] = []
        self.warnings: list[str] = []
        self.later = 10**10
        self._caches: list[HashCache] = []
        read = hashes._read
        monkeypatch.setattr(hashes, "_read", lambda path: (self.read.append(Path(path).name), read(path))[1])
        clock = hashes.time.time_ns
        monkeypatch.setattr(hashes, "time", self)
        self._clock = clock

    def time_ns(self) -> int:
        """A clock that is ahead, so that files just written are not racy."""
        return self._clock() + self.later

    def cache(self, **options: Any) -> HashCache:
        """Another process's cache: what the former ones found is committed."""
        self.close()
        self._caches.append(HashCache(self.db, warn=self.warnings.append, **options))
        return self._caches[-1]

    def close(self) -> None:
        while self._caches:
            self._caches.pop().close()

    def reads(self) -> list[str]:
        found, self.read = sorted(self.read), []
        return found


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "work").mkdir()
    work = Work(tmp_path / "work", monkeypatch)
    yield work
    work.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (tmp_path / "data" / name).write_text(f"content of {name}")
    return tmp_path / "data"


NAMES = ["a", "b", "sub/c"]
NAMES_READ = ["a", "b", "c"]


def change(path: Path) -> None:
    """One byte, same size, mtime put back: what only ctime or content shows."""
    before = path.stat()
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("size", [0, 1, hashes.SMALL, hashes.SMALL + 1, 3 * hashes.SMALL + 7])
def test_file_is_its_sha256(work: Work, tmp_path: Path, size: int) -> None:
    """The digest of a file is the one that everybody else computes."""
    (tmp_path / "a").write_bytes(b"x" * size)
    assert work.cache().file(tmp_path / "a") == hashlib.sha256(b"x" * size).hexdigest()


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_names_of_any_kind(work: Work, tmp_path: Path, name: str) -> None:
    """Names are bytes to the cache: any of them is remembered, alone and in a tree."""
    (tmp_path / name).mkdir()
    (tmp_path / name / name).write_text("x")
    seen = set()
    for _ in range(2):
        cache = work.cache()
        digest = cache.path(tmp_path / name)
        cache.file(tmp_path / name / name)
        assert cache.derived(tmp_path / name / name, name.encode("ascii", "replace").decode(), lambda: {"n": 1})
        assert cache.changed_files(digest, digest) == 0
        seen.add(digest)
    assert len(seen) == 1
    assert work.reads() == [name]


def test_unchanged_files_are_read_once(work: Work, data: Path) -> None:
    """Neither this process nor another reads a file twice, be it asked for alone or in a tree."""
    cache = work.cache()
    digest = cache.file(data / "a"), cache.tree(data, NAMES), cache.path(data)
    assert digest[1] == digest[2]
    assert work.reads() == NAMES_READ
    assert digest == (cache.file(data / "a"), cache.tree(data, reversed(NAMES)), cache.path(data))
    cache = work.cache()
    assert digest == (cache.file(data / "a"), cache.tree(data, iter(NAMES)), cache.path(data))
    assert work.reads() == []


def test_change_with_mtime_put_back_is_found(work: Work, data: Path) -> None:
    """A byte changed at same size and mtime changes the digest, and only its file is read."""
    cache = work.cache()
    file, tree = cache.file(data / "b"), cache.tree(data, NAMES)
    work.reads()
    change(data / "b")
    for again in (lambda: cache, work.cache):
        assert again().file(data / "b") != file
        assert (new := again().tree(data, NAMES)) != tree
        assert again().changed_files(tree, new) == 1
    assert work.reads() == ["b"]


def test_racy_file_is_not_trusted_from_disk(work: Work, data: Path) -> None:
    """A file changed within two seconds before it was read is read again by the next process."""
    work.later = 0
    cache = work.cache()
    digest = cache.tree(data, NAMES), cache.file(data / "a"), cache.derived(data / "a", "k", lambda: {"n": 1})
    assert digest == (cache.tree(data, NAMES), cache.file(data / "a"), cache.derived(data / "a", "k", dict))
    assert len(work.reads()) == 4  # the tree does not ask the memory of single files
    cache = work.cache()
    assert digest[:2] == (cache.tree(data, NAMES), cache.file(data / "a"))
    assert cache.derived(data / "a", "k", lambda: {"n": 2}) == {"n": 2}
    assert len(work.reads()) == 4
    work.later = 10**10
    cache = work.cache()
    cache.tree(data, NAMES)
    work.reads()
    assert work.cache().tree(data, NAMES) == digest[0]
    assert work.reads() == []


def test_file_that_changes_while_it_is_read_is_not_kept(work: Work, data: Path, monkeypatch) -> None:
    """A hash of half old, half new content is not remembered for others."""
    read = hashes._read
    monkeypatch.setattr(hashes, "_read", lambda path: (read(path)[0], "another stat"))
    work.cache().file(data / "a")
    cache = work.cache()
    work.reads()
    cache.file(data / "a")
    assert work.reads() == ["a"]


def test_copied_tree_has_the_same_digest(work: Work, data: Path, tmp_path: Path) -> None:
    """Place and times are no content: a clone elsewhere is the same."""
    shutil.copytree(data, tmp_path / "clone", copy_function=shutil.copyfile)
    cache = work.cache()
    assert cache.path(tmp_path / "clone") == cache.path(data)
    assert cache.path(tmp_path / "clone" / "a") == cache.path(data / "a")


@pytest.mark.parametrize("mode", ["content", "stat"])
def test_names_and_number_of_files_count(work: Work, data: Path, mode: Any) -> None:
    """A file renamed, added or gone changes the digest, and the cache knows how many files differ."""
    cache = work.cache(mode=mode)
    old = cache.path(data)
    (data / "a").rename(data / "z")
    renamed = cache.path(data)
    (data / "b").unlink()
    gone = cache.path(data)
    assert len({old, renamed, gone}) == 3
    assert [cache.changed_files(old, d) for d in (old, renamed, gone)] == [0, 2, 3]
    assert cache.changed_files(old, "unknown") is None
    assert work.cache(mode=mode).changed_files(gone, renamed) == 1


def test_names_cannot_run_into_each_other(work: Work, tmp_path: Path) -> None:
    """Two trees with one digest must be equal, however their names are chosen."""
    one, two = tmp_path / "1", tmp_path / "2"
    one.mkdir()
    two.mkdir()
    (one / "a").write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    (two / f"a{digest}\nb").write_text("x")
    (one / "b").write_text("x")
    cache = work.cache()
    assert cache.path(one) != cache.path(two)


def test_stat_mode_reads_nothing(work: Work, data: Path) -> None:
    """With names, sizes and mtimes only, no file is opened; a new mtime is a change."""
    cache = work.cache(mode="stat")
    digest = cache.file(data / "a"), cache.tree(data, NAMES)
    change(data / "a")
    cache = work.cache(mode="stat")
    assert digest == (cache.file(data / "a"), cache.tree(data, NAMES))
    os.utime(data / "a", ns=(1, 1))
    assert digest != (cache.file(data / "a"), cache.tree(data, NAMES))
    assert work.reads() == []


@pytest.mark.parametrize("first", ["content", "stat"])
def test_modes_do_not_answer_for_each_other(work: Work, data: Path, first: Any) -> None:
    """What one mode remembers is never told in the other: content is read, and stat compares what it compared."""
    alone = {mode: _digests(work.cache(mode=mode), data) for mode in ("content", "stat")}
    work.close()
    work.db.unlink()
    work.reads()
    second = "stat" if first == "content" else "content"
    for mode in (first, second, first, second):
        assert _digests(work.cache(mode=mode), data) == alone[mode]
    assert {digest.startswith("stat:") for digest in alone["stat"]} == {True}
    assert work.reads() == NAMES_READ


def _digests(cache: HashCache, data: Path) -> list[str]:
    return [cache.tree(data, NAMES), cache.path(data), cache.file(data / "a"), cache.path(data / "a")]


def test_links_are_followed_once(work: Work, data: Path, tmp_path: Path) -> None:
    """What a model's directory links to is its content too; loops, links to nowhere and byte code are not."""
    outside = tmp_path / "blobs"
    outside.mkdir()
    (outside / "blob").write_text("weights")
    (data / "model.bin").symlink_to(outside / "blob")
    (data / "more").symlink_to(outside)
    (data / "sub" / "loop").symlink_to(data)
    (data / "nowhere").symlink_to(tmp_path / "none")
    (data / "__pycache__").mkdir()
    (data / "__pycache__" / "x.pyc").write_text("")
    os.mkfifo(data / "fifo")
    assert sorted(hashes._files_below(str(data))) == ["a", "b", "model.bin", "more/blob", "sub/c"]
    cache = work.cache()
    old = cache.path(data)
    change(outside / "blob")
    assert cache.changed_files(old, cache.path(data)) == 2


def test_what_is_no_file_is_refused(work: Work, data: Path) -> None:
    """A missing file, a directory or a FIFO has no digest, and nothing hangs."""
    os.mkfifo(data / "fifo")
    for name in ("none", "sub", "fifo"):
        with pytest.raises(OSError, match=name):
            work.cache().file(data / name)
    with pytest.raises(FileNotFoundError):
        work.cache().tree(data, ["a", "none"])


def test_derived_is_computed_once(work: Work, data: Path) -> None:
    """What was computed of a file is remembered by kind until the file changes."""
    cache = work.cache()
    found = cache.derived(data / "a", "count", lambda: {"n": 1})
    found["n"] = 99  # the caller's own
    assert cache.derived(data / "a", "count", dict) == {"n": 1}
    assert cache.derived(data / "a", "other", lambda: {"n": 2}) == {"n": 2}
    assert work.cache().derived(data / "a", "count", dict) == {"n": 1}
    change(data / "a")
    assert work.cache().derived(data / "a", "count", lambda: {"n": 3}) == {"n": 3}


def test_failed_computation_is_not_remembered(work: Work, data: Path) -> None:
    """An error is raised each time, so that a mended dataset needs no new cache."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            work.cache().derived(data / "a", "k", lambda: {"n": 1 // 0})
    assert work.cache().derived(data / "a", "k", lambda: {"n": 1}) == {"n": 1}


@pytest.mark.parametrize("damage", ["garbage", "cut", "middle", "newer"])
def test_damaged_cache_is_made_anew(work: Work, data: Path, damage: str) -> None:
    """A damaged file is removed with one warning; hashes are right all the while, and kept again."""
    digest = work.cache().tree(data, NAMES)
    work.close()
    spoil(work.db, damage)
    work.reads()
    assert work.cache().tree(data, NAMES) == digest
    assert len(work.warnings) == 1
    assert "hashes.db: the hash cache was damaged" in work.warnings[0]
    assert work.reads() == NAMES_READ
    assert work.cache().tree(data, NAMES) == digest
    assert work.reads() == []


def spoil(db: Path, damage: str) -> None:
    if damage == "newer":
        connection = sqlite3.connect(db)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        return
    content = db.read_bytes()
    spoiled = {
        "garbage": b"garbage" * 1000,
        "cut": content[: len(content) // 2],
        "middle": content[:4096] + b"\xff" * (len(content) - 4096),
    }
    db.write_bytes(spoiled[damage])


def test_second_damage_is_borne_without_a_cache(work: Work, data: Path) -> None:
    """A file that is damaged again and again is not made again and again."""
    cache = work.cache()
    work.db.write_text("garbage" * 1000)
    digest = cache.file(data / "a")
    work.db.write_text("garbage" * 1000)
    cache._store._disconnect()
    cache._store._tried = False
    assert cache.file(data / "b") != digest
    assert len(work.warnings) == 1


def test_damaged_values_are_computed_again(work: Work, data: Path) -> None:
    """A row that is no JSON is as good as none."""
    cache = work.cache()
    digest = cache.path(data)
    cache.derived(data / "a", "k", lambda: {"n": 1})
    work.close()
    with sqlite3.connect(work.db) as connection:
        connection.execute("UPDATE derived SET value = ?", (b"[1]",))
        connection.execute("UPDATE manifests SET value = ?", (b"xx",))
    connection.close()
    cache = work.cache()
    assert cache.derived(data / "a", "k", lambda: {"n": 2}) == {"n": 2}
    assert cache.changed_files(digest, digest) is None
    assert work.warnings == []


@pytest.mark.parametrize("kind", ["fifo", "directory", "link to nowhere"])
def test_what_lies_in_place_of_the_cache(work: Work, data: Path, kind: str) -> None:
    """Is left alone and told once: hashes are right, and nothing is written through a link."""
    digest = work.cache().tree(data, NAMES)
    work.close()
    work.db.unlink()
    put = {"fifo": os.mkfifo, "directory": os.mkdir, "link to nowhere": lambda path: path.symlink_to("nowhere")}
    put[kind](work.db)
    cache = work.cache()
    assert [cache.tree(data, NAMES), cache.path(data)] == [digest, digest]
    work.close()
    assert [warning.partition(": ")[2][:13] for warning in work.warnings] == ["it is no file"]
    assert not (work.db.parent / "nowhere").exists()


def test_work_directory_that_comes_late(work: Work, data: Path) -> None:
    """Without the directory nothing is kept, made or told; once it is there the cache is."""
    work.db.parent.rmdir()
    cache = work.cache()
    cache.file(data / "a")
    cache.commit()
    assert not work.db.parent.exists()
    work.db.parent.mkdir()
    cache.file(data / "b")
    work.cache().file(data / "b")
    assert work.reads() == ["a", "b"]
    assert work.warnings == []


def test_cache_that_cannot_be_written_is_read(work: Work, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only file helps as far as it goes, and is no error."""
    work.cache().file(data / "a")
    work.close()
    work.reads()
    monkeypatch.setattr(hashstore, "_PUT", dict.fromkeys(hashstore.TABLES, "INSERT INTO missing VALUES (?, ?, ?)"))
    for _ in range(2):
        cache = work.cache()
        cache.file(data / "a")
        cache.file(data / "b")
    assert work.reads() == ["b", "b"]
    assert work.warnings == []


def test_locked_cache_is_passed_over(work: Work, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file held by another process for too long costs time, not the evaluation."""
    monkeypatch.setattr(hashstore, "BUSY_SECONDS", 0.0)
    work.cache().file(data / "b")
    cache = work.cache()
    holder = sqlite3.connect(work.db, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert cache.file(data / "a") == hashlib.sha256(b"content of a").hexdigest()
    cache.commit()
    holder.execute("ROLLBACK")
    holder.close()
    assert work.warnings == []


def test_workers_share_one_file(work: Work, tmp_path: Path) -> None:
    """Several writers at once lose nothing and break nothing."""
    for i in range(60):
        (tmp_path / f"f{i}").write_text(str(i))

    def worker(part: int) -> None:
        cache = HashCache(work.db, warn=work.warnings.append)
        for i in range(part * 15, part * 15 + 15):
            cache.file(tmp_path / f"f{i}")
            cache.commit()
        cache.close()

    threads = [threading.Thread(target=worker, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(work.reads()) == 60
    cache = work.cache()
    for i in range(60):
        cache.file(tmp_path / f"f{i}")
    assert work.reads() == []
    assert work.warnings == []


def test_cache_is_bounded(work: Work, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old trees, derived values and manifests are dropped; what is waiting is written in time."""
    monkeypatch.setattr(hashes, "MOST_REMEMBERED", 2)
    monkeypatch.setattr(hashstore, "MOST_WAITING", 3)
    monkeypatch.setattr(hashstore, "MOST_MANIFEST_BYTES", 150)
    drop = {t: f"DELETE FROM {t} WHERE id <= (SELECT MAX(id) FROM {t}) - 3" for t in ("trees", "derived")}
    monkeypatch.setattr(hashstore, "_DROP", drop)
    cache = work.cache()
    for i in range(8):
        (data / "a").write_text(str(i))
        cache.derived(data / "b", f"kind {i}", lambda i=i: {"n": i})
        newest = cache.path(data)
        assert len(cache._memo) <= 2
    work.close()
    with sqlite3.connect(work.db) as connection:
        rows = {t: connection.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0] for t in hashstore.TABLES}
    connection.close()
    assert rows["trees"] == rows["derived"] == 3
    assert 1 <= rows["manifests"] < 8
    cache = work.cache()
    assert cache.changed_files(newest, newest) == 0
    assert cache.derived(data / "b", "kind 7", dict) == {"n": 7}


def test_huge_tree_has_no_manifest(work: Work, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond some size the files are not kept one by one; the digest is the same."""
    digest = HashCache(work.db.with_name("other.db"), warn=print).path(data)
    monkeypatch.setattr(hashes, "LARGEST_MANIFEST", 2)
    cache = work.cache()
    assert cache.path(data) == digest
    assert cache.changed_files(digest, digest) is None
