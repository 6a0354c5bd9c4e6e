"""docs/ci.md: its jobs are read, their commands are run, and what it says of caches, lines and properties holds."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from pytest_evalrun.report.verdict import Verdict

PAGE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
JOBS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
SUMMARY = "outputs/default/latest/summary"


def of_github():
    (job,) = JOBS[0]["jobs"].values()
    return job["steps"]


def of_gitlab():
    return JOBS[1]["evaluate"]


def commands(lines):
    """The words of each command; what a shell would fill in stays as it is written."""
    return [shlex.split(line) for line in lines]


GITHUB = commands(step["run"] for step in of_github() if "run" in step)
GITLAB = commands([*of_gitlab()["script"], *of_gitlab()["after_script"]])


def run(project, words):
    """Run a command of a job: what installs and what posts is not ours."""
    if words[0] == "pytest":
        return project.run(*words[1:]).code
    if words[0] == "cp":
        subprocess.run(words, cwd=project.root, check=True)
    else:
        assert words[0] in ("pip", "gh", "test"), words
    return 0


@pytest.fixture
def breached(project):
    """A suite whose gate does not hold."""
    project.make(datasets=("one", "two"), gates={"exact_match": {"min": 0.9}})
    project.dataset("two", 8, wrong=4)
    return project


@pytest.mark.parametrize("job", [GITHUB, GITLAB], ids=["GitHub", "GitLab"])
def test_the_job_fails_by_its_gate_and_leaves_what_it_posts(breached, job):
    """Whatever it uploads or posts is there afterwards, and begins with the verdict."""
    assert max(run(breached, words) for words in job) == 1
    named = [word.partition("@")[2] or word for words in job for word in words if word.endswith("summary.md")]
    assert named, "it posts the summary"
    for name in named:
        text = (breached.root / name).read_text(encoding="utf-8")
        assert text.startswith("# FAILED: 1 of 2 pairs failed (1 gate breached); 1 passed\n")
    uploads = {
        "GitHub": next(step["with"]["path"].split() for step in of_github() if "upload" in step.get("uses", "")),
        "GitLab": [*of_gitlab()["artifacts"]["paths"], of_gitlab()["artifacts"]["reports"]["junit"]],
    }["GitHub" if job is GITHUB else "GitLab"]
    assert all((breached.root / path).exists() for path in uploads)
    assert "junit.xml" in uploads


def test_the_last_steps_come_although_the_gate_failed():
    """A step behind a failed one is passed over, unless it says otherwise; and what is saved is what is restored."""
    steps = of_github()
    places = [number for number, step in enumerate(steps) if "pytest evals/" in step.get("run", "")]
    assert all(step["if"] == "always()" for step in steps[places[0] + 1 :])
    restored, saved = (step["with"] for step in steps if "cache" in step.get("uses", ""))
    assert (restored["path"], restored["key"]) == (saved["path"], saved["key"])
    assert of_gitlab()["cache"]["when"] == of_gitlab()["artifacts"]["when"] == "always"


def test_a_cache_is_reused_by_a_fresh_checkout(evaluated, tmp_path):
    """Elsewhere, with times in whole seconds, as archives have them, and with files of a new date."""
    archive = tmp_path / "cache.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(evaluated.root / "outputs", "outputs")
    shutil.copytree(
        evaluated.root, tmp_path / "fresh", ignore=shutil.ignore_patterns("outputs"), copy_function=shutil.copy
    )
    evaluated.root, evaluated.suite = tmp_path / "fresh", tmp_path / "fresh/evals/echo"
    with tarfile.open(archive) as tar:
        tar.extractall(evaluated.root, filter="tar")
    asked = tmp_path / "asked"
    ran = evaluated.run("evals", ASKED=str(asked))
    assert "reused: unchanged since" in ran, ran
    assert not asked.exists()
    assert (evaluated.root / SUMMARY / "summary.md").read_text().startswith("# PASSED: ")


VERDICTS = {
    "FAILED": Verdict("failed", {"failed": 2, "passed": 9, "skipped": 1}, (None, None, None)),
    "ERROR": Verdict("error", {"error": 1, "passed": 11}),
    "PENDING": Verdict("pending", {"pending": 3, "passed": 9}),
    "PASSED": Verdict("passed", {"passed": 12}),
    "first samples": Verdict("passed", {"passed": 12}, limited=True),
}


@pytest.mark.parametrize("verdict", VERDICTS.values(), ids=VERDICTS)
def test_verdicts_read_as_the_page_says(verdict):
    """The page's examples are made by nothing else than the code."""
    assert f"\n{verdict.line}\n" in PAGE
