"""Who may look at a run through its page, and what he is told otherwise."""

from __future__ import annotations

import pytest

from pytest_evalrun.monitor.web.door import decoded

OURS = {"Host": "localhost:1"}


def test_nothing_is_shown_without_the_token(shown):
    """No path is anything for who does not know the token, and no other than this one will do."""
    for path in ("/", "/api/snapshot", "/t/", "/t//api/snapshot", f"/t/{'x' * 22}/api/snapshot", f"{shown.base}x/"):
        status, _, body = shown.ask(path)
        assert (status, body) == (404, b'{"error":"Not Found"}'), path
    assert shown.ask(f"{shown.base}/api/snapshot")[0] == 200


def test_token_comes_first(shown):
    """Who does not know it does not even learn that his Host or method is wrong."""
    assert shown.ask("/t/nothing/", "POST", Host="evil.example", Origin="http://evil.example")[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Host": "127.0.0.1:9"}, 200, id="by address"),
        pytest.param({"Host": "LOCALHOST"}, 200, id="by name, without a port"),
        pytest.param({**OURS, "Origin": "http://localhost:1"}, 200, id="its own page"),
        pytest.param({"Host": "evil.example"}, 421, id="another name for this address"),
        pytest.param({"Host": "10.0.0.1"}, 421, id="another address"),
        pytest.param({"Host": "127.0.0.1.evil.example"}, 421, id="a name like ours"),
        pytest.param({"Host": "["}, 421, id="no name"),
        pytest.param({**OURS, "Origin": "http://evil.example"}, 403, id="a page of others"),
        pytest.param({**OURS, "Origin": "http://localhost:2"}, 403, id="a page of another server here"),
        pytest.param({**OURS, "Origin": "null"}, 403, id="a page without origin"),
        pytest.param({**OURS, "Origin": "http://["}, 403, id="no origin at all"),
        pytest.param({**OURS, "Sec_Fetch_Site": "cross-site"}, 403, id="an image in a page of others"),
        pytest.param({**OURS, "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}, 403, id="a link to data"),
    ],
)
def test_host_and_origin_are_ours(shown, headers, status):
    """A page of somebody else sees nothing, whatever name it has for this machine."""
    assert shown.ask(f"{shown.base}/api/snapshot", **headers)[0] == status


def test_link_may_be_followed_from_anywhere(shown):
    """The page opens from a chat in a browser; no other site may have it in a frame or ask for it by a script."""
    followed = {"Host": "localhost", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}
    assert shown.ask(f"{shown.base}/", **followed)[0] == 200
    for dest in ("iframe", "empty", "script", "image"):
        assert shown.ask(f"{shown.base}/", **{**followed, "Sec_Fetch_Dest": dest})[0] == 403
    assert shown.ask(f"{shown.base}/", **followed, Origin="http://evil.example")[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_changed(shown, method):
    """Only GET and HEAD are answered."""
    for path in ("/", "/api/snapshot", "/api/events", "/files/run/run.json"):
        assert shown.ask(f"{shown.base}{path}", method)[0] == 405


def test_head_has_no_body(shown):
    """HEAD is answered as GET, without what is told; a stream of events ends at once."""
    for path in ("/", "/api/snapshot", "/api/events", "/files/run/run.json"):
        status, _, body = shown.ask(f"{shown.base}{path}", "HEAD")
        assert (status, body) == (200, b""), path


@pytest.mark.parametrize("path", ["/", "/api/snapshot", "/api/nothing", "/files/run/run.json", "/files/run/no"])
def test_browser_keeps_and_guesses_nothing(shown, path):
    """Every answer, a refusal too, says that it is not to be kept, framed, guessed at or told of to others."""
    _, headers, _ = shown.ask(f"{shown.base}{path}")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_page_lies_in_a_directory(shown):
    """The link without its last slash leads to the one with it."""
    status, headers, _ = shown.ask(shown.base)
    assert (status, headers["Location"]) == (302, f"{shown.base}/")


@pytest.mark.parametrize("call", ["nothing", "", "snapshot/", "snapshot/x", "../api/snapshot"])
def test_unknown_calls(shown, call):
    """What there is not is said in JSON."""
    assert shown.ask(f"{shown.base}/api/{call}")[0] == 404


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        pytest.param("/a%20b?c=%2e%2e", "/a b", id="decoded once, without the query"),
        pytest.param("/a%252e%252e/b", "/a%2e%2e/b", id="what was encoded twice is a name"),
        pytest.param("/a/../b", None, id="up"),
        pytest.param("/a/%2e%2e/b", None, id="up, encoded"),
        pytest.param("/a/.%2E", None, id="up, half encoded"),
        pytest.param("/a/./b", None, id="here"),
        pytest.param("/a%00b", None, id="NUL"),
        pytest.param("/a%5C..%5Cb", None, id="backslashes"),
        pytest.param("http://evil.example/a", None, id="another server"),
        pytest.param("/" + "a" * 5000, None, id="far too long"),
    ],
)
def test_paths_are_read_once(raw, path):
    """A path that leads up is none, however it is written."""
    assert decoded(raw) == path
