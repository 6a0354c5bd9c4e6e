"""What a job of DLC is made of: its command, its variables, its machine."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.engines.dlcconfig import DlcModel
    from pytest_evalrun.engines.protocol import Job, Resources

CPUS_OF_A_GPU, MEMORY_OF_A_GPU = 8, 128
LONGEST_NAME = 256
OFFLINE = ("HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE", "HF_HUB_OFFLINE")
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})")
# All that a shell looks for in double quotes, but for names of variables.
_QUOTED = re.compile(r'\$(?![A-Za-z_{])|\$\{(?![A-Za-z_][A-Za-z0-9_]*\})|["\\`]')


def create_request(models: Any, words: DlcModel, job: Job) -> Any:
    """Make the request of CreateJob. It is never run again by the service: what a loss means is for us to say."""
    spec = models.JobSpec(
        type="Worker",
        image=words.worker_image,
        pod_count=1,
        resource_config=models.ResourceConfig(**resource_config(words, job.resources)),
        restart_policy="Never",
    )
    return models.CreateJobRequest(
        display_name=display_name(job.name),
        description=job.title,
        job_type="PyTorchJob",
        job_specs=[spec],
        user_command=user_command(words, job),
        envs=variables(words, job),
        data_sources=[models.CreateJobRequestDataSources(data_source_id=source) for source in words.data_sources],
        priority=words.priority,
        resource_id=words.resource_id,
        workspace_id=words.workspace_id,
        settings=_preemptible(models) if words.preemptible else None,
    )


def display_name(name: str) -> str:
    """Write a name as the service takes it: letters, digits and ``_.-``."""
    return _NAME.sub("-", name)[:LONGEST_NAME]


def resource_config(words: DlcModel, resources: Resources) -> dict[str, str]:
    gpus = resources.gpus
    config = {
        "cpu": str(max(CPUS_OF_A_GPU * gpus, words.worker_cpu)),
        "memory": f"{max(MEMORY_OF_A_GPU * gpus, words.worker_memory)}Gi",
    }
    return config | ({"gpu": str(gpus)} if gpus else {})


def variables(words: DlcModel, job: Job) -> dict[str, str]:
    """All that a job is told by variables; the user's own win, and those of the launch above all."""
    told = dict.fromkeys(OFFLINE, "1") if words.hf_offline else {}
    told |= dict.fromkeys(PROXIES, words.http_proxy) if words.http_proxy else {}
    # The second is what older versions read.
    told |= dict.fromkeys(("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), words.huggingface_cache or "")
    told |= {"TORCH_HOME": words.torch_cache or "", "HF_ENDPOINT": words.hf_endpoint or ""}
    own = {name: value for name, value in _extra(words).items() if not _VARIABLE.search(value)}
    return {name: value for name, value in told.items() if value} | own | dict(job.environment)


def user_command(words: DlcModel, job: Job) -> str:
    """Write what runs a job's script, by Bash whatever shell reads it, and in its place: signals reach the script."""
    # In a container a job is root, or whoever: the launch takes its files, which lie on a disk that both see.
    line = "; ".join([*_before(words), "umask 0000", f"exec bash {shlex.quote(str(job.script))}"])
    # The user's own line may end in a comment.
    return f"exec bash -c {shlex.quote(f'{words.pre_cmd}{chr(10)}{line}' if words.pre_cmd else line)}"


def _before(words: DlcModel) -> Iterator[str]:
    if words.bashrc_path and words.conda_env_name:
        yield f"source {shlex.quote(words.bashrc_path)}"
        yield f"conda activate {shlex.quote(words.conda_env_name)}"
    if words.python_env_path:
        yield f'export PATH={shlex.quote(words.python_env_path)}/bin:"$PATH"'
    for name, value in _extra(words).items():
        if _VARIABLE.search(value):
            yield f'export {name}="{_QUOTED.sub(lambda match: chr(92) + match[0], value)}"'


def _extra(words: DlcModel) -> dict[str, str]:
    """The user's own variables: a value that names another one is for a shell to read, at the node."""
    parts = (_unquoted(variable).partition("=") for variable in words.extra_envs)
    return {name: value for name, _, value in parts}


def _unquoted(variable: str) -> str:
    """Take away quotes that were written for a shell, as in ``NAME="two words"``."""
    try:
        words = shlex.split(variable)
    except ValueError:
        return variable
    return words[0] if len(words) == 1 else variable


def _preemptible(models: Any) -> Any:
    """The setting that the tool's ``--enable_priority_preemption`` stands for, which the SDK has no name for."""

    class Settings(models.JobSettings):  # type: ignore[misc]
        def to_map(self) -> dict[str, Any]:
            return {**super().to_map(), "EnablePriorityPreemption": True}

    return Settings()


def tool_command(words: DlcModel, job: Job) -> list[str]:
    """Give what the tool ``dlc`` would be told for the same job; variables by their names alone."""
    config = resource_config(words, job.resources)
    told = {
        "name": display_name(job.name),
        "workspace_id": words.workspace_id,
        "resource_id": words.resource_id,
        "priority": str(words.priority),
        "workers": "1",
        "worker_cpu": config["cpu"],
        "worker_gpu": config.get("gpu", "0"),
        "worker_memory": config["memory"],
        "worker_image": words.worker_image,
        "data_sources": ",".join(words.data_sources),
        "enable_priority_preemption": str(words.preemptible).lower(),
        "envs": ",".join(f"{name}=..." for name in variables(words, job)),
        "command": user_command(words, job),
    }
    return ["dlc", "submit", "pytorchjob", *(f"--{key}={value}" for key, value in told.items() if value)]
