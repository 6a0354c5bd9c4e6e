"""The engine for DLC, by Alibaba's own SDK, against a service of ours that speaks the published calls."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from dlcservice import Service

from pytest_evalrun import registry
from pytest_evalrun.engines import dlc
from pytest_evalrun.engines.making import create_engine
from pytest_evalrun.engines.protocol import ClusterAway, Handle, Job, Phase, Resources
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.clusters import ClusterWords

LIMIT = 30.0


@pytest.fixture(scope="module")
def running():
    service = Service()
    yield service
    service.close()


@pytest.fixture
def service(running):
    """One server for the module; each test finds it as if nobody had asked before."""
    running.asked.clear()
    running.refusals.clear()
    running.lost.clear()
    running.runs = running.newest_listed = running.chooses = True
    return running


@pytest.fixture
def engine(service, tmp_path):
    """``engine(**words)``: one whose file has these words beside the least that there are."""

    def make(**words):
        told = {"workspace_id": 1, "resource_id": "quota1", "worker_image": "img", "hf_offline": "false"}
        told |= {"endpoint": service.endpoint, "protocol": "http"} | words
        (tmp_path / "dlc.yaml").write_text("".join(f"{key}: {value}\n" for key, value in told.items()))
        return create_engine(ClusterWords("dlc", dlc="dlc.yaml", root=str(tmp_path)), tmp_path / "engine")

    return make


@pytest.fixture
def job(tmp_path, request):
    """``job(script, unit=…)``: an attempt with that script, as a launch writes it."""

    def make(script="exit 0", unit="u001", **words):
        directory = tmp_path / "engine" / unit / "1"
        directory.mkdir(parents=True)
        (directory / "job.sh").write_text(script)
        name = f"evalrun-20261128_{tmp_path.name[-20:]}-{unit}-1-ab12"
        return Job(name, f"run, {unit}", directory / "job.sh", directory / "job.log", **words)

    return make


def ended(engine, handle):
    """How a job ended, once it has."""
    until = time.monotonic() + LIMIT
    while not (state := engine.poll([handle])[handle]).phase.is_end:
        assert time.monotonic() < until, state
        time.sleep(0.02)
    return state


def test_a_job_is_made_as_opencompass_makes_it(engine, service, job):
    """Machine, image, data, priority, variables, command: all as the file says, with its rules for several GPUs."""
    made = engine(
        data_sources="d-1,d-2",
        priority=4,
        preemptible="true",
        hf_offline="true",
        http_proxy="http://proxy:1",
        torch_cache="/cache/torch",
        huggingface_cache="/cache/hf",
        hf_endpoint="https://mirror",
    )
    service.runs = False
    asked = job(resources=Resources(gpus=4), environment={"EVALRUN_X": "1"})
    (handle,) = made.submit([asked], 8)
    assert handle == Handle([*service.jobs][-1], asked.name)
    body = service.jobs[handle.id].body
    (spec,) = body["JobSpecs"]
    assert {key: value for key, value in spec.items() if value != []} == {
        "Type": "Worker",
        "Image": "img",
        "PodCount": 1,
        "ResourceConfig": {"CPU": "32", "GPU": "4", "Memory": "512Gi"},
        "RestartPolicy": "Never",
    }
    assert body["DataSources"] == [{"DataSourceId": "d-1"}, {"DataSourceId": "d-2"}]
    assert (body["JobType"], body["Priority"], body["ResourceId"], body["WorkspaceId"]) == (
        "PyTorchJob",
        4,
        "quota1",
        "1",
    )
    assert (body["DisplayName"], body["Description"]) == (asked.name, asked.title)
    assert body["Settings"] == {"EnablePriorityPreemption": True}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://proxy:1")
    offline = ("HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE", "HF_HUB_OFFLINE")
    caches = {"HF_HUB_CACHE": "/cache/hf", "HUGGINGFACE_HUB_CACHE": "/cache/hf", "TORCH_HOME": "/cache/torch"}
    assert body["Envs"] == {
        **proxies,
        **dict.fromkeys(offline, "1"),
        **caches,
        "HF_ENDPOINT": "https://mirror",
        "EVALRUN_X": "1",
    }


def test_without_gpus_and_settings_there_are_none(engine, service, job):
    """The least: 12 CPUs and 192 GiB, as there."""
    service.runs = False
    (handle,) = engine().submit([job()], 1)
    body = service.jobs[handle.id].body
    assert body["JobSpecs"][0]["ResourceConfig"] == {"CPU": "12", "Memory": "192Gi"}
    assert "Settings" not in body


def test_a_job_runs_and_its_log_is_kept(engine, job):
    """From its first line to its last, with what the file says of its environment."""
    made = engine(
        pre_cmd="'echo first # and a remark'",
        python_env_path="'/env with space'",
        extra_envs="""['A=$HOME/x', 'B="two words"', 'C=`date`$(date)"\\', 'D=${HOME}`date`$(date)"\\']""",
    )
    script = 'echo "$PATH" | cut -d: -f1\necho "$A|$B|$C|$D|$OURS"\necho end'
    asked = job(script, environment={"OURS": "yes", "HOME": "/h"})
    (handle,) = made.submit([asked], 1)
    state = ended(made, handle)
    assert (state.phase, state.code) == (Phase.DONE, 0)
    assert asked.log.read_text().splitlines() == [
        "first",
        "/env with space/bin",
        '/h/x|two words|`date`$(date)"\\|/h`date`$(date)"\\|yes',
        "end",
    ]


def test_the_environment_of_conda_is_activated(engine, job, tmp_path):
    """The user's file is sourced first, as the shells of people do."""
    (tmp_path / "bashrc").write_text('conda() { echo "conda $*"; }\n')
    made = engine(bashrc_path=tmp_path / "bashrc", conda_env_name="my-env")
    asked = job("echo run")
    (handle,) = made.submit([asked], 1)
    assert ended(made, handle).phase is Phase.DONE
    assert asked.log.read_text() == "conda activate my-env\nrun\n"


def test_a_job_that_fails_tells_its_code(engine, job):
    """As the service's message has it."""
    made = engine()
    (handle,) = made.submit([job("exit 3")], 1)
    state = ended(made, handle)
    assert (state.phase, state.code) == (Phase.FAILED, 3)
    assert "exit code 3" in state.reason


def test_the_log_grows_while_a_job_runs(engine, job, tmp_path, monkeypatch):
    """A line is there soon after it was written, and no line twice, also for another launch that adopts the job."""
    monkeypatch.setattr(dlc, "LOG_SECONDS", 0.0)
    made = engine()
    asked = job(f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo two")
    (handle,) = made.submit([asked], 1)
    until = time.monotonic() + LIMIT
    while not asked.log.exists():
        assert time.monotonic() < until
        made.poll([handle])
        time.sleep(0.02)
    assert asked.log.read_text() == "one\n"
    adopting = engine()
    adopting.poll([handle])
    (tmp_path / "go").touch()
    assert ended(adopting, handle).phase is Phase.DONE
    assert asked.log.read_text() == "one\ntwo\n"


def test_cancelled_jobs_get_sigterm(engine, job, tmp_path):
    """The script itself, not a shell around it; what is over already is passed over."""
    made = engine()
    first = job(f"trap 'echo bye; exit 0' TERM; touch {tmp_path}/up; while :; do sleep 0.02; done")
    over = job("exit 0", unit="u002")
    handles = made.submit([first, over], 2)
    ended(made, handles[1])
    until = time.monotonic() + LIMIT
    while not (tmp_path / "up").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    made.cancel([*handles[::-1], Handle("dlcgone", "x")])
    assert ended(made, handles[0]).phase is Phase.CANCELLED
    assert ended(made, handles[1]).phase is Phase.DONE


def test_one_question_for_many_jobs(engine, service, job):
    """Whatever their number below a page; reasons of a wait are handed on."""
    service.runs = False
    made = engine()
    handles = made.submit([job(unit=f"u{number:03}") for number in range(40)], 40)
    service.jobs[handles[7].id].told = {"Status": "Queuing", "ReasonCode": "QuotaExceeded", "ReasonMessage": "full"}
    service.asked.clear()
    states = made.poll(handles)
    assert [action for action, *_ in service.asked] == ["ListJobs"]
    assert {state.phase for state in states.values()} == {Phase.WAITING}
    assert states[handles[7]].reason == "QuotaExceeded: full"


def test_all_pages_are_read(engine, service, job):
    """Of more jobs than one answer holds, every state comes."""
    service.runs = False
    made = engine()
    handles = made.submit([job(unit=f"u{number:03}") for number in range(dlc.PAGE + 3)], 60)
    assert {state.phase for state in made.poll(handles).values()} == {Phase.WAITING}
    assert len(made.find([handle.name for handle in handles])) == dlc.PAGE + 3


def test_what_a_list_leaves_out_is_asked_for_by_itself(engine, service, job):
    """A new job may not be in it yet; only who is not known even then is gone."""
    service.runs = False
    made = engine()
    (handle,) = made.submit([job()], 1)
    service.newest_listed = False
    gone = Handle("dlcgone", "evalrun-a-u9-1-00")
    states = made.poll([handle, gone])
    assert (states[handle].phase, states[gone].phase) == (Phase.WAITING, Phase.GONE)


def test_a_service_that_knows_no_choice_by_ids_is_not_read_whole(engine, service, job):
    """A page of its list, then each job by itself."""
    service.runs, service.chooses = False, False
    made = engine()
    handles = made.submit([job(unit=f"u{number:03}") for number in range(2)], 60)
    assert len(service.jobs) > dlc.PAGE + 2
    service.asked.clear()
    assert {state.phase for state in made.poll(handles).values()} == {Phase.WAITING}
    assert [action for action, *_ in service.asked] == ["ListJobs", "GetJob", "GetJob"]


def test_jobs_are_found_by_name(engine, service, job):
    """Exactly these, of which a launch died before it noted the handle."""
    service.runs = False
    made = engine()
    jobs = [job(unit=unit) for unit in ("u001", "u002", "u0021")]
    handles = made.submit(jobs, 3)
    assert engine().find([jobs[0].name, jobs[1].name, "evalrun-other"]) == handles[:2]
    assert made.find([]) == []


AWAY = {
    "throttled": (429, "Throttling.User"),
    "throttled otherwise": (400, "Throttling.Api"),
    "broken": (500, "InternalError"),
    "a proxy's page": (502, "html"),
}


@pytest.mark.parametrize("answer", AWAY.values(), ids=AWAY)
def test_a_service_that_cannot_answer_is_away(engine, service, job, answer):
    """Asked again later, it answers; nothing was lost."""
    service.runs = False
    made = engine()
    (handle,) = made.submit([job()], 1)
    service.refusals = {"ListJobs": [answer]}
    with pytest.raises(ClusterAway):
        made.poll([handle])
    assert made.poll([handle])[handle].phase is Phase.WAITING


def test_nobody_listens(engine, job):
    """A connection that is refused is no end of the launch."""
    with pytest.raises(ClusterAway, match="DLC does not answer"):
        engine(endpoint="127.0.0.1:9").poll([Handle("dlc1", "a")])


def test_what_was_made_before_it_went_away_is_found(engine, service, job):
    """Jobs whose answer came, and one whose answer was lost; not those that were never made."""
    service.runs = False
    before = len(service.jobs)
    made = engine()
    jobs = [job(unit=f"u{number}") for number in range(3)]
    service.lost = ["", "CreateJob"]
    with pytest.raises(ClusterAway):
        made.submit(jobs, 3)
    handles = made.find([asked.name for asked in jobs])
    assert [handle.name for handle in handles] == [asked.name for asked in jobs[:2]]
    assert [handle.id for handle in handles] == [*service.jobs][before:]


def test_a_refusal_half_way_leaves_no_job_unknown(engine, service, job):
    """What was made before it is found; asked again without it, the refusal is the user's."""
    service.runs = False
    made = engine()
    jobs = [job(unit=f"u{number}") for number in range(2)]
    service.refusals = {"CreateJob": [None, (400, "QuotaExceeded"), (400, "QuotaExceeded")]}
    with pytest.raises(ClusterAway, match="QuotaExceeded"):
        made.submit(jobs, 2)
    assert [handle.name for handle in made.find([asked.name for asked in jobs])] == [jobs[0].name]
    with pytest.raises(ConfigError, match="QuotaExceeded"):
        made.submit(jobs[1:], 2)


def test_a_full_disk_costs_the_log_alone(engine, job):
    """A directory in the place of the log stands for all that a disk may refuse."""
    made = engine()
    asked = job("echo lost")
    asked.log.mkdir()
    (handle,) = made.submit([asked], 1)
    assert ended(made, handle).phase is Phase.DONE


def test_what_the_service_refuses_is_the_users_to_mend(engine, service, job):
    """In its own words, with the file in front; before anything is submitted where one question tells."""
    made = engine()
    service.refusals = {"ListJobs": [(403, "Forbidden.Workspace")], "CreateJob": [(400, "InvalidParameter.Image")]}
    with pytest.raises(ConfigError, match=r"dlc\.yaml: DLC refuses: Forbidden.Workspace: .*said of Forbidden"):
        made.check([])
    with pytest.raises(ConfigError, match=r"dlc\.yaml: DLC refuses the job 'run, u001': InvalidParameter.Image"):
        made.submit([job()], 1)
    made.check([])


def test_a_key_that_expires_later_ends_no_launch(engine, service, job):
    """Jobs go on: the launch waits, and says why."""
    service.runs = False
    made = engine()
    (handle,) = made.submit([job()], 1)
    service.refusals = {"ListJobs": [(403, "InvalidSecurityToken.Expired")]}
    with pytest.raises(ClusterAway, match="InvalidSecurityToken"):
        made.poll([handle])


def test_a_log_that_cannot_be_had_costs_the_log_alone(engine, service, job):
    """And it says so itself."""
    made = engine()
    asked = job("exit 0")
    (handle,) = made.submit([asked], 1)
    service.jobs[handle.id].process.wait()
    service.refusals = {"GetPodLogs": [(429, "Throttling")]}
    assert made.poll([handle])[handle].phase is Phase.DONE
    assert asked.log.read_text().startswith("evalrun: the end of this log could not be had: DLC: Throttling")


def test_the_key_of_the_tool_is_used(engine, service, tmp_path):
    """Where its file is named, and endpoint and region with it."""
    (tmp_path / "tool").write_text('[user]\naccess_id = "another"\naccess_key = "k"\n')
    with pytest.raises(ConfigError, match="InvalidAccessKeyId"):
        engine(dlc_config_path="tool").check([])
    assert "Credential=another," in service.asked[-1][3]


def test_the_preview_names_what_would_be_made(engine, job):
    """As the tool's command, a line a job, with variables by their names alone."""
    asked = job(resources=Resources(gpus=1), environment={"TOKEN": "secret-value"})
    line = engine(extra_envs="[KEY=own-value]").preview([asked], 2)
    assert line.startswith(f"dlc submit pytorchjob --name={asked.name} --workspace_id=1 --resource_id=quota1")
    assert "--worker_gpu=1 --worker_memory=192Gi --worker_image=img" in line
    assert "\n" not in line
    assert "KEY=...,TOKEN=..." in line
    assert "value" not in line


def test_a_file_is_needed(tmp_path):
    """There is no default that could be right."""
    with pytest.raises(ConfigError, match=r"--eval-dlc-config .* is missing"):
        create_engine(ClusterWords("dlc"), tmp_path)


def test_an_endpoint_or_a_region_is_needed(engine):
    """Told with the words that give one."""
    with pytest.raises(ConfigError, match=r"dlc\.yaml: endpoint and region are missing"):
        engine(endpoint="null").check([])


ALONE = """
import sys
from pathlib import Path
from pytest_evalrun.engines.dlccalls import DlcCalls
from pytest_evalrun.engines.dlcconfig import Access
from pytest_evalrun.errors import ConfigError
if sys.argv[1] == "no SDK":
    sys.modules["alibabacloud_pai_dlc20201203"] = None
try:
    DlcCalls(Access(endpoint="127.0.0.1:9"), "dlc.yaml")
except ConfigError as error:
    print(error)
"""
LACKS = {
    "no SDK": "--eval-engine dlc needs Alibaba's SDK, and alibabacloud_pai_dlc20201203 is missing: pip install",
    "no key": "--eval-engine dlc: the SDK finds no access key: ",
}


@pytest.mark.parametrize("lack", LACKS)
def test_what_is_missing_is_told_with_the_remedy(lack, tmp_path):
    """Neither the SDK nor a key can be guessed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("ALIBABA_CLOUD")}
    env |= {"HOME": str(tmp_path), "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
    ran = subprocess.run([sys.executable, "-c", ALONE, lack], env=env, capture_output=True, text=True, timeout=LIMIT)
    assert ran.stdout.startswith(LACKS[lack]), ran


def test_the_entry_point_is_the_engine():
    """Found by name, as engines of other packages are."""
    assert registry.find(registry.ENGINES, "dlc").load() is dlc.DlcEngine
