"""Which files the page leads to, and what a browser is told of them."""

from __future__ import annotations

import os

import pytest

from pytest_evalrun.evaluation.origins import Origin
from pytest_evalrun.monitor.web.door import NotShown
from pytest_evalrun.monitor.web.files import SampleFiles, below, headers_of
from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.suite.pairs import PairKey

KEY = PairKey("echo", "a", "one")


@pytest.fixture
def outputs(run, show, tmp_path):
    """A pair whose model writes outside the run, with a result by which it is known."""
    written = tmp_path / "written"
    written.mkdir()
    (tmp_path / "secret.txt").write_text("nobody's business")
    run.result("echo/a/one")
    return written, show(run.paths, lambda _: Origin((), lambda: iter(()), written, None))


@pytest.mark.parametrize(
    "path",
    [
        "/files/run/../secret.txt",
        "/files/run/%2e%2e/secret.txt",
        "/files/run/%2e%2e%2fsecret.txt",
        "/files/run/..%2f..%2fsecret.txt",
        "/files/run/%252e%252e/secret.txt",
        "/files/run//etc/passwd",
        "/files/run/%2fetc%2fpasswd",
        "/files/run/run.json%00.png",
        "/files/run/",
        "/files/run",
        "/files/run/results",
        "/files/",
        "/files/other/run.json",
        "/files/sample/0123456789abcdef",
        "/files/outputs/p0/secret.txt",
        f"/files/outputs/{anchor_of(KEY)}/../secret.txt",
        f"/files/outputs/{anchor_of(KEY)}/%2e%2e/secret.txt",
        f"/files/outputs/{anchor_of(KEY)}/link",
        f"/files/outputs/{anchor_of(KEY)}/up/secret.txt",
        f"/files/outputs/{anchor_of(KEY)}/pipe",
        f"/files/outputs/{anchor_of(KEY)}/loop",
        f"/files/outputs/{anchor_of(KEY)}/gone",
    ],
)
def test_nothing_outside_is_sent(outputs, tmp_path, path):
    """Not by dots in any writing, not by a link, and nothing that is no file."""
    written, shown = outputs
    (written / "link").symlink_to(tmp_path / "secret.txt")
    (written / "up").symlink_to(tmp_path)
    (written / "loop").symlink_to("loop")
    (written / "gone").symlink_to("nowhere")
    os.mkfifo(written / "pipe")
    status, _, body = shown.ask(f"{shown.base}{path}")
    assert status == 404
    assert b"nobody" not in body
    assert b"root:" not in body


def test_files_below_are_sent_whole(outputs):
    """Those of the run, and those that the model of a pair wrote, a name with odd signs too."""
    written, shown = outputs
    content = os.urandom(700_000)
    (written / "sub").mkdir()
    (written / "sub" / "a b#?.bin").write_bytes(content)
    (written / "near").symlink_to("sub/a b#?.bin")
    for name in ("sub/a%20b%23%3F.bin", "near"):
        status, headers, body = shown.ask(f"{shown.base}/files/outputs/{anchor_of(KEY)}/{name}")
        assert (status, body, headers["Content-Length"]) == (200, content, "700000")
    assert shown.ask(f"{shown.base}/files/run/run.json")[2] == b'{"format": 1}'


@pytest.mark.parametrize(
    ("name", "kind", "how"),
    [
        pytest.param("a.png", "image/png", "inline", id="png"),
        pytest.param("a.JPG", "image/jpeg", "inline", id="jpg"),
        pytest.param("a.webp", "image/webp", "inline", id="webp"),
        pytest.param("a.svg", "application/octet-stream", "attachment", id="svg runs scripts"),
        pytest.param("a.html", "application/octet-stream", "attachment", id="html"),
        pytest.param("a.png.html", "application/octet-stream", "attachment", id="the last end counts"),
        pytest.param("a", "application/octet-stream", "attachment", id="no end"),
    ],
)
def test_only_pictures_are_shown(name, kind, how):
    """What a file is says the end of its name alone; whatever is no picture is saved, and runs nowhere."""
    headers = headers_of(name)
    assert headers["Content-Type"] == kind
    assert headers["Content-Disposition"].startswith(f"{how};")
    assert "sandbox" in headers["Content-Security-Policy"]


def test_name_of_a_file_breaks_no_header():
    """Line ends, quotes and bytes that are no text are encoded."""
    told = headers_of('a"\r\nSet-Cookie: x\udcff.txt')["Content-Disposition"]
    assert told == "attachment; filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%FF.txt"


def test_samples_files_have_names_of_ours(tmp_path, monkeypatch):
    """No request holds a path: who did not get the name from a page has nothing; a server forgets the oldest."""
    files, others = SampleFiles(b"one"), SampleFiles(b"two")
    (tmp_path / "a.png").touch()
    (tmp_path / "link.png").symlink_to("a.png")
    name = files.name(tmp_path / "link.png")
    assert files.find(name) == tmp_path / "a.png"
    assert files.name(tmp_path / "a.png") == name != others.name(tmp_path / "a.png")
    with pytest.raises(OSError):
        files.name(tmp_path / "none.png")
    monkeypatch.setattr("pytest_evalrun.monitor.web.files.MOST_NAMED", 5)
    for number in range(5):
        (tmp_path / f"{number}.png").touch()
        files.name(tmp_path / f"{number}.png")
    with pytest.raises(NotShown):
        files.find(name)


def test_links_are_followed_before_it_is_looked_where_they_lead(tmp_path):
    """A directory that is a link itself is no way out."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("a")
    (tmp_path / "run").symlink_to("real")
    assert below(tmp_path / "run", "a") == (tmp_path / "real" / "a").resolve()
    for name in ("", "/a", "a/", "../real/a", "./a", "a\0", "b"):
        with pytest.raises(NotShown):
            below(tmp_path / "run", name)
