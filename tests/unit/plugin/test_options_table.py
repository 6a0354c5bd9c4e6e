"""Options as data: one line each, from which the command line, the ini file and the layers are made."""

from __future__ import annotations

import pytest
from packages import installed

from pytest_evalrun import registry
from pytest_evalrun.plugin.options import OPTIONS, header, read_options
from pytest_evalrun.suite.runconfig import command_line_layer, eval_set_layer
from pytest_evalrun.suite.settings import Settings

BY_FLAG = {option.flag: option for option in OPTIONS}


def test_every_option_is_ours():
    """Flags begin with --eval-, ini keys are called alike, and no two are the same."""
    assert all(flag.startswith("--eval-") for flag in BY_FLAG)
    assert len(BY_FLAG) == len(OPTIONS)
    assert all(option.dest == option.flag[2:].replace("-", "_") for option in OPTIONS)


def test_settings_are_known():
    """An option that sets a setting names one that pairs have, and leaves it alone where it is not given."""
    for option in OPTIONS:
        if option.setting:
            assert option.setting in Settings.__dataclass_fields__
            assert option.default is None


def test_helps_follow_pytests_rules():
    """A capital letter, no full stop."""
    assert [option.flag for option in OPTIONS if not option.help[0].isupper() or option.help.endswith(".")] == []


@pytest.fixture
def options(pytester):
    """``options(*arguments, ini="…")``: as a real pytest reads them."""

    def read(*arguments, ini=""):
        pytester.makeini(f"[pytest]\n{ini}")
        config = pytester.parseconfig("-p", "no:cacheprovider", *arguments)
        return read_options(config), header(config)

    return read


def test_defaults(options, pytester):
    """Nothing given is nothing said, and the runs lie below rootdir."""
    found, line = options()
    assert line is None
    assert found.workdir == pytester.path / "outputs" / "default"
    assert (found.run, found.mode, found.only, found.fresh) == ("latest", "all", None, False)
    assert (found.settings, found.sets, found.eval_set(), found.command_line()) == ((), (), [], [])


GIVEN = {
    "--eval-workdir": ("out", None),
    "--eval-run": ("new", None),
    "--eval-mode": ("infer", None),
    "--eval-only": ("failed", None),
    "--eval-limit": ("7", ("limit", 7)),
    "--eval-fresh": ("true", None),
    "--eval-set": ("max_batch_size=3", None),
    "--eval-batch-size": ("9", ("max_batch_size", 9)),
    "--eval-in-subdir": ("images", ("in_subdir", "images")),
    "--eval-suffixes": (".a,.b", ("suffixes", ".a,.b")),
    "--eval-out": (".out", ("out_subdir", ".out")),
    "--eval-retries": ("0", ("retries", 0)),
    "--eval-crash-retries": ("2", None),
    "--eval-timeout": ("1.5", ("timeout", 1.5)),
    "--eval-shards": ("3", ("shards", 3)),
    "--eval-shard-size": ("4", ("shard_size", 4)),
    "--eval-scheduler": ("off", None),
    "--eval-gpus": ("0,1", None),
    "--eval-gpus-per-item": ("2", ("gpus", 2)),
    "--eval-min-gpu-memory": ("40.5", ("min_gpu_memory", 40.5)),
    "--eval-workers-per-gpu": ("2", ("workers_per_gpu", 2)),
    "--eval-max-cost": ("0.5", None),
    "--eval-notify-link": ("https://ci.example/{run}", None),
    "--eval-engine": ("slurm", None),
    "--eval-jobs": ("5", None),
    "--eval-unit-minutes": ("2.5", None),
    "--eval-job-workers": ("3", None),
    "--eval-slurm": ("-p main", None),
    "--eval-ray-address": ("http://127.0.0.1:8265", None),
    "--eval-dlc-config": ("dlc.yaml", None),
    "--eval-on-interrupt": ("detach", None),
    "--eval-scripts": ("scripts", None),
}
# It names a file that the launch of a job has written, and that must be there.
OF_JOBS = frozenset({"--eval-job"})
# An ini key alone says nothing.
OF_MESSAGES = frozenset({"--eval-notify"})


@pytest.mark.parametrize("where", ["command line", "ini"])
def test_each_option_is_read_from_both(options, where):
    """The same value from either, shown in the header; those that are settings become a layer each."""
    assert GIVEN.keys() == BY_FLAG.keys() - OF_JOBS - OF_MESSAGES
    if where == "ini":
        found, line = options(ini="\n".join(f"{BY_FLAG[flag].dest} = {value}" for flag, (value, _) in GIVEN.items()))
    else:
        # What begins with a hyphen itself is written with `=`: pytest would take it for an option of its own.
        words = [[flag] if flag == "--eval-fresh" else [f"{flag}={value}"] for flag, (value, _) in GIVEN.items()]
        found, line = options(*(word for option in words for word in option))
    shown = {flag: "True" if flag == "--eval-fresh" else value for flag, (value, _) in GIVEN.items()}
    assert line == "evalrun: " + ", ".join(
        f"{option.flag[7:]}={shown[option.flag]}" for option in OPTIONS if option.flag in shown
    )
    settings = {flag: setting for flag, (_, setting) in GIVEN.items() if setting}
    assert {flag: (key, value) for flag, key, value in found.settings} == settings
    assert found.command_line() == [command_line_layer(flag, *setting) for flag, setting in settings.items()]
    assert found.eval_set() == [eval_set_layer(["max_batch_size=3"])]
    assert (found.workdir.name, found.run, found.mode, found.only, found.fresh) == (
        "out",
        "new",
        "infer",
        "failed",
        True,
    )
    assert found.sets == ("max_batch_size=3",)
    assert (found.crash_retries, found.scheduler, found.gpus, found.max_cost) == (2, False, "0,1", 0.5)


URLS = ["lark://${LARK_TOKEN}", "json://user:pass@host/path"]
INI = "eval_notify =\n" + "".join(f"    {url}\n" for url in URLS)
NOTIFIED = {
    "no option": ((), INI, None, None),
    "the ini's": (("--eval-notify",), INI, tuple(URLS), "evalrun: notify=lark://${LARK_TOKEN} json://***"),
    "that of the command line": (("--eval-notify=ntfy://x",), INI, ("ntfy://x",), "evalrun: notify=ntfy://***"),
    "several": (("--eval-notify", "a://b", "--eval-notify", "${URL}"), "", ("a://b", "${URL}"), None),
    "both": (("--eval-notify=a://b", "--eval-notify"), INI, (*URLS, "a://b"), None),
    "none in the ini": (("--eval-notify",), "", (), "evalrun: notify="),
}


@pytest.mark.parametrize(("words", "ini", "urls", "line"), NOTIFIED.values(), ids=NOTIFIED)
def test_messages_go_to_the_inis_addresses_or_those_given(options, words, ini, urls, line):
    """Without the option to none at all; and the header shows nothing that may be secret."""
    found, shown = options(*words, ini=ini)
    assert found.notify == urls
    assert line is None or shown == line


def test_a_path_is_no_address(options, tmp_path):
    """What stands behind the option is its value; one that may be a secret is not repeated."""
    with pytest.raises(pytest.UsageError, match="is a path, and no URL; give paths before this option"):
        options("--eval-notify", str(tmp_path))
    with pytest.raises(pytest.UsageError, match="what follows it is no URL") as caught:
        options("--eval-notify", "t0k3n")
    assert "t0k3n" not in str(caught.value)


def test_the_command_line_wins(options):
    """Over the ini file."""
    found, line = options("--eval-limit", "3", "--eval-mode", "eval", ini="eval_limit = 9\neval_mode = infer")
    assert found.settings == (("--eval-limit", "limit", 3),)
    assert line == "evalrun: mode=eval, limit=3"


BAD = {
    "choice": ("eval_mode = none", "ini key eval_mode: 'none' is not accepted; accepted: all, infer, eval, viz"),
    "number": ("eval_limit = many", "ini key eval_limit: expected a whole number, got 'many'"),
    "money": ("eval_max_cost = -1", r"--eval-max-cost \(ini eval_max_cost\): -1 is not accepted; accepted: 0 or more"),
    "no end of money": ("eval_max_cost = inf", "inf is not accepted; accepted: 0 or more"),
    "fraction": ("eval_timeout = soon", "ini key eval_timeout: expected a number, got 'soon'"),
}


@pytest.mark.parametrize(("ini", "message"), BAD.values(), ids=BAD)
def test_what_an_ini_file_must_not_say(options, ini, message):
    """Key, value found, values accepted."""
    with pytest.raises(pytest.UsageError, match=message):
        options(ini=ini)


@pytest.mark.parametrize("where", ["command line", "ini"])
@pytest.mark.parametrize("name", ["near", "slurm", "far"])
def test_an_engine_is_ours_or_that_of_another_package(options, tmp_path, monkeypatch, where, name):
    """Any that is offered, from either; others are refused with the names of all."""
    points = {registry.ENGINES: {"near": "no_such_module:Near"}}
    monkeypatch.syspath_prepend(installed(tmp_path / "site", "near-package", points))
    given = {"ini": f"eval_engine = {name}"} if where == "ini" else {}
    words = () if where == "ini" else ("--eval-engine", name)
    if name != "far":
        assert options(*words, **given)[0].cluster.engine == name
        return
    with pytest.raises(pytest.UsageError, match=r"'far' is not accepted; accepted: local, .*, near"):
        options(*words, **given)
