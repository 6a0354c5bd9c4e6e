"""What a launch would submit is shown as it would be submitted, and its scripts are the jobs' own."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.engines.preview import PreviewedUnit, preview_lines, resources_text, write_scripts
from pytest_evalrun.engines.protocol import Job, Resources
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.jobfiles import JobFile, JobItem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GPU = Resources(gpus=2, gpu_memory=80)


class PlainEngine:
    """Submits each job by a command of its own; of an engine only what a preview asks for."""

    name = "plain"

    def prepare(self, jobs: Sequence[Job]) -> None:
        pass

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:
        return "\n".join(shlex.join(["submit", f"-g{job.resources.gpus}", str(job.script)]) for job in jobs)


def unit(root: Path, name: str, items: int, minutes: float | None, resources: Resources, *models: str) -> PreviewedUnit:
    ids = tuple(JobItem(f"evals/evalrun.yaml::test_pair[{name}/{number}]") for number in range(items))
    spec = JobFile(str(root), name, 1, str(root), None, ids, "1", "3.11")
    job = Job(f"evalrun-{name}", name, root / name / "job.sh", root / name / "job.log", resources, minutes)
    return PreviewedUnit(job, spec, models, guessed=name == "u002")


@pytest.fixture
def units(tmp_path: Path) -> list[PreviewedUnit]:
    return [
        unit(tmp_path, "u001", 12, 15.0, GPU, "vits/large"),
        unit(tmp_path, "u002", 3, 10.0, Resources(), "a", "b", "c", "d", "e"),
        unit(tmp_path, "u003", 1, 0.5, GPU, "vits/large"),
    ]


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def preview(units, here=None, at_once=2):
    return preview_lines(units, PlainEngine(), at_once, here or {})


def test_a_plan_shows_units_what_they_need_the_command_and_what_runs_here(units, tmp_path):
    """Jobs of one resource class are submitted together; what is guessed says so; empty reasons are none."""
    total = (
        "3 jobs for plain, at most 2 at once: 16 items of 6 models, 25 min 30 s in all,"
        " about 15 min 0 s where none has to wait for the cluster; of 1 unit guessed"
    )
    here = {"their shards are gathered": ["p[1]", "p[2]", "p[3]", "p[4]"], "reused": [], "an ordinary test": ["t\n"]}
    assert preview(units, here) == [
        "unit  items     expected  needs            models",
        "u001     12   15 min 0 s  2 GPUs of 80 GB  vits/large",
        "u002      3  ~10 min 0 s  -                a, b, c and 2 more",
        "u003      1         30 s  2 GPUs of 80 GB  vits/large",
        total,
        "submitted by",
        f"  $ submit -g2 {tmp_path}/u001/job.sh",
        f"  $ submit -g2 {tmp_path}/u003/job.sh",
        f"  $ submit -g0 {tmp_path}/u002/job.sh",
        "5 items would run here",
        "  their shards are gathered: 4 items (p[1], p[2], p[3] and 1 more)",
        "  an ordinary test: 1 item (t\\n)",
    ]


def test_one_at_a_time_they_take_as_long_as_all_together(units):
    """Where nothing is known of a unit, that is said of it, and of the sum."""
    line = next(line for line in preview(units, at_once=1) if "jobs for" in line)
    assert "25 min 30 s in all, about 25 min 30 s" in line
    unknown = PreviewedUnit(unit(units[0].job.script.parent, "u009", 1, None, GPU).job, units[2].spec, ())
    row, total = preview([unknown])[1:3]
    assert row.split() == ["u003", "1", "?", "2", "GPUs", "of", "80", "GB", "-"]
    assert total.endswith("of 1 unit guessed")


def test_nothing_to_submit_is_said(units):
    """All is reused, say: no table without rows, no command without jobs."""
    assert preview([], {"reused": ["p"]}) == [
        "nothing to submit to plain",
        "1 item would run here",
        "  reused: 1 item (p)",
    ]


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (Resources(), "-"),
        (Resources(gpus=1), "1 GPU"),
        (Resources(gpus=4, gpu_memory=24.5, flags="-C a100"), "4 GPUs of 24.5 GB, -C a100"),
        (Resources(custom=(("board", 1.0), ("odd\x1b", 0.5))), "board 1, odd\\x1b 0.5"),
    ],
    ids=["nothing", "a GPU", "GPUs and flags", "resources of Ray"],
)
def test_resources_are_a_few_words(resources, text):
    """A name that drives a terminal does not drive this one."""
    assert resources_text(resources) == text


def test_scripts_are_those_of_the_jobs(units, tmp_path):
    """Each with its file beside it, and one that submits them; bash can read them all."""
    directory = tmp_path / "größe 1" / "scripts"
    (line,) = write_scripts(directory, units, PlainEngine(), 2)
    assert line == f"3 scripts in {directory}; submit.sh there has what would submit them to plain"
    names = [f"u00{number}.{end}" for number in (1, 2, 3) for end in ("json", "sh")]
    assert names_in(directory) == ["submit.sh", *names]
    assert JobFile.read(directory / "u002.json") == units[1].spec
    assert f"--eval-job '{directory}/u002.json' ./evals/evalrun.yaml" in (directory / "u002.sh").read_text()
    submit = (directory / "submit.sh").read_text().splitlines()
    assert submit[1] == f"submit -g2 '{directory}/u001.sh'"
    for script in directory.glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_scripts_of_before_are_gone_and_files_of_others_stay(units, tmp_path):
    """Fewer units than before leave nothing of the old ones; a directory with anything else is refused untouched."""
    directory = tmp_path / "scripts"
    write_scripts(directory, units, PlainEngine(), 2)
    write_scripts(directory, units[:1], PlainEngine(), 2)
    assert names_in(directory) == ["submit.sh", "u001.json", "u001.sh"]
    (directory / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"--eval-scripts .*: has other files \(mine.txt\); accepted: "):
        write_scripts(directory, units, PlainEngine(), 2)
    assert names_in(directory) == ["mine.txt", "submit.sh", "u001.json", "u001.sh"]


def test_a_place_that_cannot_be_written_is_said(units, tmp_path):
    """With the option and the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--eval-scripts .*/file: cannot be written: File exists"):
        write_scripts(tmp_path / "file", units, PlainEngine(), 2)
