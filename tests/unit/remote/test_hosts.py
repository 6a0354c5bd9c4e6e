"""How a board is found: the suite's words first, then the user's own ssh configuration."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.hosts import Host, identity, route


@pytest.fixture
def ask(tmp_path):
    """The way to a board under an ssh configuration."""

    def ask(config, name="board", **more):
        (tmp_path / "config").write_text(config)
        return route(Host(name, config=str(tmp_path / "config"), **more))

    return ask


def test_configuration_is_honoured(ask, tmp_path):
    """HostName, Port, User and IdentityFile of the user's configuration say where a board is and who goes there."""
    (tmp_path / "key").touch()
    (hop,) = ask(f"Host board\n HostName 10.0.0.5\n Port 2222\n User evan\n IdentityFile {tmp_path}/key\n")
    assert (hop.address, hop.port, hop.user) == ("10.0.0.5", 2222, "evan")
    assert hop.identity_files == (f"{tmp_path}/key",)
    assert str(hop) == "board (evan@10.0.0.5:2222)"


def test_suite_comes_first(ask):
    """What the suite says of a board beats the configuration."""
    (hop,) = ask("Host board\n Port 2222\n User evan\n", user="root", port=22)
    assert (hop.user, hop.port) == ("root", 22)


def test_board_without_configuration(tmp_path):
    """A name alone is an address, port 22 and this user; a configuration that does not exist is none."""
    (hop,) = route(Host("10.0.0.5", config=str(tmp_path / "none")))
    assert (hop.address, hop.port, hop.user) == ("10.0.0.5", 22, getpass.getuser())
    assert identity(Host("10.0.0.5", user="me", config=str(tmp_path / "none"))) == "me@10.0.0.5:22"


def test_included_files_count(ask, tmp_path):
    """Include brings in other files, by pattern, relative to the file or not."""
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "boards").write_text("Host board\n Port 2200\n")
    (tmp_path / "other").write_text("Host board\n User olga\n")
    (hop,) = ask(f"Include config.d/*\nInclude {tmp_path}/other\n")
    assert (hop.port, hop.user) == (2200, "olga")


def test_way_through_several_servers(ask):
    """ProxyJump may name several servers, and the first of them may itself be reached through another."""
    hops = ask(
        "Host board\n ProxyJump ann@one:2201,two\nHost one\n HostName 10.0.0.1\n ProxyJump zero\n"
        "Host two\n HostName 10.0.0.2\n ProxyJump never\nHost zero\n HostName 10.0.0.9\n"
    )
    assert [hop.address for hop in hops] == ["10.0.0.9", "10.0.0.1", "10.0.0.2", "board"]
    assert (hops[1].user, hops[1].port) == ("ann", 2201)


def test_jump_of_the_suite(ask):
    """A jump in the suite beats the configuration's, and none is none."""
    assert [hop.name for hop in ask("Host board\n ProxyJump x\n", jump="ssh://me@other:99")] == ["other", "board"]
    assert [hop.name for hop in ask("Host board\n ProxyJump x\n", jump="none")] == ["board"]


def test_what_is_said_of_a_board_is_not_said_of_its_jump_host(ask):
    """The user, the pinned key and the password of a board stay with it."""
    first, last = ask("", jump="door", user="root", host_key="SHA256:abc", password_env="SECRET")
    assert (first.host_key, first.password_env) == ("check", None)
    assert (last.user, last.host_key, last.password_env) == ("root", "SHA256:abc", "SECRET")


def test_keys_that_do_not_exist_are_passed_over(ask):
    """As ssh does, a key file that is not there is not asked for."""
    (hop,) = ask("Host board\n IdentityFile ~/nothing\n IdentitiesOnly yes\n")
    assert (hop.identity_files, hop.agent, hop.search_keys) == ((), False, False)


def test_known_hosts_files_follow_the_configuration(ask, tmp_path):
    """UserKnownHostsFile and HostKeyAlias say where, and under which name, the key of a board is known."""
    (hop,) = ask("Host board\n UserKnownHostsFile ~/a ~/b\n HostKeyAlias other\n GlobalKnownHostsFile none\n")
    assert hop.known_hosts[:2] == (str(Path.home() / "a"), str(Path.home() / "b"))
    assert hop.known_as == "other"


@pytest.mark.parametrize(
    ("config", "more", "complaint"),
    [
        pytest.param("Host *\n ProxyJump board\n", {}, "ProxyJump never ends: board -> board", id="itself"),
        pytest.param("Host board\n ProxyJump b\nHost b\n ProxyJump board\n", {}, "board -> b -> board", id="circle"),
        pytest.param("Host board\n ProxyJump x:y\n", {}, "is not .user@.host", id="port"),
        pytest.param("Host board\n ProxyCommand nc %h %p\n", {}, "ProxyJump leads there", id="command"),
        pytest.param("", {"host_key": "yes"}, "accepted: check, accept-new or a fingerprint SHA256:", id="key"),
        pytest.param("", {"name": "-oProxyCommand=x"}, "no name of a host", id="option"),
        pytest.param("", {"name": "a b"}, "no name of a host", id="blank"),
        pytest.param("Include config\n", {}, "Include never ends", id="include"),
        pytest.param("Host\n", {}, "config", id="nonsense"),
    ],
)
def test_mistakes_are_named(ask, config, more, complaint):
    """What cannot be a way to a board is the user's mistake, and says which."""
    with pytest.raises(ConfigError, match=complaint):
        ask(config, **more)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1))
def test_any_jump_is_a_way_or_a_mistake(text):
    """No text of ProxyJump does anything but lead somewhere or be refused."""
    try:
        assert len(route(Host("board", jump=text, config="/nonexistent"))) >= 1
    except ConfigError:
        pass
