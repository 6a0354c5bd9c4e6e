"""Who may call a server of ours, by what his request says of itself."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.serving import behind_token, bound_socket, called_name, foreign_page, is_called


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/t/secret-token/api/x", "/api/x"),
        ("/t/secret-token/", "/"),
        ("/t/secret-token", ""),
        ("/t/secret-tokem/api", None),
        ("/t/secret-token2/api", None),
        ("/t/secret-toke/n/api", None),
        ("secret-token/api", None),
        ("/api/t/secret-token", None),
        ("/", None),
        ("/t/\udcff/api", None),
    ],
)
def test_path_behind_the_token(path, rest):
    """Only the whole token opens, and only at the beginning of the path."""
    assert behind_token(path, "secret-token") == rest


@pytest.mark.parametrize(
    ("host", "name", "ours"),
    [
        ("localhost:80", "localhost", True),
        ("LOCALHOST", "localhost", True),
        ("127.0.0.1:5", "127.0.0.1", True),
        ("[::1]:5", "::1", True),
        ("evil.example", "evil.example", False),
        ("localhost.evil.example", "localhost.evil.example", False),
        ("[", "", False),
        ("", "", False),
    ],
)
def test_name_that_is_called(host, name, ours):
    """An address, or one of our names: no page can have an address for its own name."""
    assert called_name(host) == name
    assert is_called(host, {"localhost"}) == ours


@pytest.mark.parametrize(
    ("headers", "how"),
    [
        ({}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"}, None),
        ({"Origin": "http://localhost:2"}, "Origin: found 'http://localhost:2'"),
        ({"Origin": "null"}, "Origin: found 'null'"),
        ({"Origin": "http://["}, "Origin: found 'http://['"),
        ({"Sec-Fetch-Site": "same-site"}, "Sec-Fetch-Site"),
    ],
)
def test_pages_of_others(headers, how):
    """What a page of somebody else makes says so by itself, in every browser."""
    assert foreign_page({"Host": "localhost:1", **headers}) == how


def test_ports():
    """Any free one, one that is free, none that is taken or is no port."""
    with bound_socket("127.0.0.1", 0) as one:
        port = one.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: in use on 127.0.0.1"):
            bound_socket("127.0.0.1", port)
    with pytest.raises(ConfigError, match="--port -1: accepted: 0 to 65535"):
        bound_socket("127.0.0.1", -1)
