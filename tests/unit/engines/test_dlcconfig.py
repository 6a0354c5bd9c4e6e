"""The file of --eval-dlc-config: OpenCompass' keys, each of which works or is refused with a reason."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.engines.dlcconfig import ELSEWHERE, WITHOUT_EFFECT, Access, DlcModel, read_dlc_config
from pytest_evalrun.errors import ConfigError

LEAST = "workspace_id: ws1\nresource_id: quota1\nworker_image: reg/img:1\n"
# Of OpenCompass' runner for DLC, all versions: what `aliyun_cfg` may hold, and what stands beside it.
OPENCOMPASS = (
    "workspace_id resource_id worker_image data_sources priority preemptible worker_cpu worker_memory python_env_path "
    "bashrc_path conda_env_name dlc_config_path hf_offline http_proxy hf_endpoint torch_cache huggingface_cache "
    "extra_envs dlc_job_cmd dlc_sleep_time max_num_workers retry eval_with_gpu task type debug keep_tmp_file "
    "lark_bot_url"
).split()


@pytest.fixture
def read(tmp_path):
    """``read(text)``: what a file of that text says."""

    def read_text(text, name="dlc.yaml"):
        (tmp_path / name).write_text(text)
        return read_dlc_config(tmp_path / name)

    return read_text


def test_every_key_of_opencompass_is_known():
    """Either it works, or it is refused, or it has no effect; and nothing is two of these."""
    assert set(OPENCOMPASS) <= DlcModel.model_fields.keys() | ELSEWHERE.keys()
    assert not DlcModel.model_fields.keys() & ELSEWHERE.keys()
    assert WITHOUT_EFFECT.keys() < DlcModel.model_fields.keys()


def test_three_keys_are_enough(read):
    """The documented example of OpenCompass dies of a KeyError without `python_env_path`; here it is left out."""
    words = read(LEAST).words
    assert (words.workspace_id, words.resource_id, words.worker_image) == ("ws1", "quota1", "reg/img:1")
    assert (words.priority, words.preemptible, words.hf_offline, words.data_sources) == (1, False, True, [])
    assert (words.worker_cpu, words.worker_memory) == (12, 192)


def test_json_and_what_people_write(read):
    """Numbers as ids, a list in one text, memory with its unit."""
    told = {"workspace_id": 5366, "resource_id": "q", "worker_image": "i", "data_sources": "d-1, d-2"}
    words = read(json.dumps(told | {"worker_memory": "256Gi"}), "dlc.json").words
    assert (words.workspace_id, words.data_sources, words.worker_memory) == ("5366", ["d-1", "d-2"], 256)


def test_the_runner_of_opencompass_as_a_whole(read):
    """`aliyun_cfg` with `preemptible` beside it, as its runner has them."""
    indented = "".join(f"  {line}\n" for line in LEAST.splitlines())
    assert read(f"preemptible: true\naliyun_cfg:\n{indented}").words.preemptible
    with pytest.raises(ConfigError, match=r"dlc\.yaml:2: aliyun_cfg\.workers: unknown key; did you mean"):
        read(f"aliyun_cfg:\n  workers: 1\n{indented}")
    with pytest.raises(ConfigError, match=r"dlc\.yaml:1: retry: is not accepted here; --eval-crash-retries"):
        read(f"retry: 2\naliyun_cfg:\n{indented}")


BAD = {
    "missing": ("workspace_id: a\n", r"dlc\.yaml.*resource_id: is missing\n.*worker_image: is missing"),
    "typo": (f"{LEAST}priorty: 2\n", r"dlc\.yaml:4: priorty: unknown key; did you mean 'priority'\? accepted: bashrc"),
    "priority": (f"{LEAST}priority: 10\n", r"dlc\.yaml:4: priority: found 10; accepted: less than or equal to 9"),
    "memory": (f"{LEAST}worker_memory: lots\n", r"dlc\.yaml:4: worker_memory: found 'lots'; accepted: integer"),
    "variable": (f"{LEAST}extra_envs: [A B]\n", r"dlc\.yaml:4: extra_envs\[0\]: found 'A B'; accepted: NAME=value"),
    "source": (f"{LEAST}data_sources: ['d 1']\n", r"dlc\.yaml:4: data_sources\[0\]: found 'd 1'"),
    "half conda": (
        f"{LEAST}bashrc_path: /a\n",
        r"bashrc_path: goes with conda_env_name, which is missing",
    ),
    "half bashrc": (f"{LEAST}conda_env_name: a\n", r"dlc\.yaml:4: conda_env_name: goes with bashrc_path"),
    "no mapping": ("- a\n", r"dlc\.yaml"),
    "python": ("aliyun_cfg = dict(a=1)\n", r"dlc\.yaml"),
    "no such tool file": (f"{LEAST}dlc_config_path: no/such\n", r"dlc_config_path: .*no/such: No such file"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_told_with_its_place(read, text, message):
    """File, line, key, what was found, what is accepted."""
    with pytest.raises(ConfigError, match=message):
        read(text)


@pytest.mark.parametrize("key", ELSEWHERE)
def test_what_is_said_elsewhere_is_refused_with_where(read, key):
    """The user of OpenCompass learns which word it is here."""
    with pytest.raises(ConfigError) as caught:
        read(f"{LEAST}{key}: 1\n")
    assert str(caught.value).endswith(f"dlc.yaml:4: {key}: is not accepted here; {ELSEWHERE[key]}")


def test_what_has_no_effect_is_remarked(read):
    """Taken, so that one file serves both, but not in silence."""
    assert read(LEAST).remarks == ()
    remarks = read(f"{LEAST}dlc_job_cmd: create\ndlc_sleep_time: 10\n").remarks
    assert [remark.partition(": has no effect; ")[0][-16:] for remark in remarks] == [
        "l:4: dlc_job_cmd",
        ": dlc_sleep_time",
    ]


TOOL = """
[user]
access_id = "LTAI-some-id"
access_key = "some-key"
[basic]
endpoint = "pai-dlc.cn-x.aliyuncs.com"
region = "cn-x"
protocol = "http"
"""


def test_the_file_of_the_tool_says_where_and_who(read, tmp_path):
    """Whatever its tables are called; what our file says itself wins."""
    (tmp_path / "tool").write_text(TOOL)
    access = read(f"{LEAST}dlc_config_path: tool\nendpoint: elsewhere\n").access
    assert access == Access("elsewhere", "cn-x", "http", "LTAI-some-id", "some-key")


def test_a_tool_file_that_is_none_is_told_without_its_content(read, tmp_path):
    """There is an access key in it."""
    (tmp_path / "tool").write_text("access_key some-key\n")
    with pytest.raises(ConfigError, match=r"dlc\.yaml:4: dlc_config_path: .* is not the TOML") as caught:
        read(f"{LEAST}dlc_config_path: tool\n")
    assert "some-key" not in str(caught.value)
