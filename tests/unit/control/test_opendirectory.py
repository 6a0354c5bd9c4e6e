"""Taking files away: only what lies below, however the names are, and never behind a link."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pytest_evalrun.control.opendirectory import OpenDirectory, Size
from pytest_evalrun.errors import ConfigError


@pytest.fixture
def outer(tmp_path, put):
    """``run`` beside ``precious``, and links from one to the other at every depth."""
    put(tmp_path / "precious" / "deep" / "file", "mine")
    put(tmp_path / "run" / "a" / "b" / "file", "12345")
    (tmp_path / "run" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "run" / "a" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "run" / "a" / "b" / "dangling").symlink_to("nowhere")
    return tmp_path


def test_a_tree_goes_and_what_its_links_point_to_stays(outer):
    """A link is removed as what it is."""
    with OpenDirectory(outer / "run") as tree:
        assert tree.remove("a")
        assert tree.remove("link")
        assert not tree.remove("a")
        assert tree.names() == []
    assert (outer / "precious/deep/file").read_text() == "mine"


@pytest.mark.parametrize("name", ["link/deep/file", "link/deep", "a/link/deep"])
@pytest.mark.parametrize("act", ["remove", "size", "aside"])
def test_a_link_on_the_way_is_not_followed(outer, name, act):
    """Whatever is asked, it is refused with the name of the link."""
    with OpenDirectory(outer / "run") as tree, pytest.raises(ConfigError, match="link is a symbolic link"):
        {"remove": tree.remove, "size": tree.size, "aside": lambda n: tree.set_aside(n, ".old")}[act](name)
    assert (outer / "precious/deep/file").read_text() == "mine"


@pytest.mark.parametrize("name", ["../precious", "a/../../precious", "/etc/passwd", "", "."])
def test_names_do_not_lead_out(outer, name):
    """Neither up nor to the root."""
    with OpenDirectory(outer / "run") as tree, pytest.raises(ConfigError, match="no name of something below"):
        tree.remove(name)


def test_a_root_that_is_a_link_is_refused_unless_it_may_be_one(outer):
    """A run is no link; the way to a suite may have the user's own."""
    (outer / "alias").symlink_to("run")
    with pytest.raises(ConfigError, match="it is a symbolic link"):
        OpenDirectory(outer / "alias")
    with OpenDirectory(outer / "alias", follow=True) as tree:
        assert tree.names() == ["a", "link"]
    with pytest.raises(ConfigError, match="No such file"):
        OpenDirectory(outer / "missing")


def test_sizes_count_links_as_themselves(outer):
    """And what is not there has none."""
    with OpenDirectory(outer / "run") as tree:
        assert tree.size("a/b/file") == Size(1, 5)
        assert tree.size("a").files == 3
        assert tree.size("missing/deeper") is None


def test_what_is_set_aside_replaces_what_was(outer, put):
    """Files and directories alike, also when done twice."""
    put(outer / "run/a.old/full", "of an earlier time")
    with OpenDirectory(outer / "run") as tree:
        assert tree.set_aside("a", ".old")
        assert not tree.set_aside("a", ".old")
        assert sorted(tree.names()) == ["a.old", "link"]
    assert (outer / "run/a.old/b/file").read_text() == "12345"
    assert not (outer / "run/a.old/full").exists()


def test_only_empty_directories_are_pruned(outer):
    """From below, up to the first that has something in it, and never the root."""
    (outer / "run/x/y/z").mkdir(parents=True)
    with OpenDirectory(outer / "run") as tree:
        tree.prune("x/y/z/file")
        tree.prune("a/b")
        assert tree.names() == ["a", "link"]
        tree.remove("a")
        tree.remove("link")
        tree.prune("a/b")
    assert (outer / "run").is_dir()


def test_a_directory_exchanged_for_a_link_meanwhile_is_not_followed(tmp_path, put):
    """However often somebody swaps it, nothing behind the link is lost."""
    precious = tmp_path / "precious"
    for i in range(20):
        put(precious / "victim" / f"{i}", "mine")
    run = tmp_path / "run"
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for make in (lambda: (run / "d").symlink_to(precious), lambda: (run / "d").mkdir()):
                try:
                    (run / "d").rename(run / "away")
                    make()
                    (run / "away").unlink() if (run / "away").is_symlink() else (run / "away").rmdir()
                except OSError:
                    pass

    run.mkdir()
    (run / "d").mkdir()
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        with OpenDirectory(run) as tree:
            for _ in range(500):
                try:
                    tree.remove("d/victim")
                except (ConfigError, OSError):
                    pass
    finally:
        stop.set()
        thread.join()
    assert len(list(Path(precious, "victim").iterdir())) == 20
