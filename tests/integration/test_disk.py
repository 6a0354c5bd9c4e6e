"""A disk that is full or read-only: an ERROR with its reason, no traceback, and the same command completes later."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

SMALL = "384k"
BIG = """
def predict(batch, length):
    return [{"text": f"{sample.input:05d}" * length} for sample in batch]
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few hundred kilobytes, with a ballast file that takes some of them."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_disk_that_is_full_in_the_middle_is_an_error_of_the_pair(project, small_disk, workers):
    """The session ends in good order; with room made, the same command carries on where it stopped."""
    project.make(samples=8, datasets=("small", "large"))
    project.dataset("large", 400)
    (project.suite / "model.py").write_text(BIG)
    project.yaml(
        (),
        (),
        adapter="./model.py:predict",
        models=[{"name": "a", "params": {"length": 200}}],
        datasets=[{"name": name, "path": f"{name}.jsonl"} for name in ("small", "large")],
        metrics=["./accept.py:accept"],
        max_batch_size=4,
        retries=0,
    )
    (project.suite / "accept.py").write_text("def accept(prediction, reference):\n    return len(prediction) > 0\n")
    args = ("evals", "-n", workers, "--eval-workdir", str(small_disk / "out"))
    ran = project.run(*args)
    assert ran.code == 1, ran
    assert "ERROR   echo/a/large" in ran, ran
    assert "1 error" in ran or workers == "2", ran  # a pair that runs beside it finds no room either
    assert "No space left on device: make room for" in ran
    for word in ("Traceback", "INTERNALERROR", "worker.py", "life.py"):
        assert word not in ran, ran
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    ran = project.run(*args)
    assert ran.code == 0, ran
    assert "2 passed" in ran
    assert re.search(r"echo/a/large .*resumed at \d+ of 400 samples", ran.output), ran
    run = (small_disk / "out/latest").resolve()
    assert len((run / "predictions/echo/a/large.jsonl").read_bytes().splitlines()) == 400
    assert "-small|2\n-large|2\n" in (run / ".task_list").read_text()
    assert (run / "summary/summary.csv").stat().st_size


def test_a_full_disk_at_the_start_is_a_usage_error(project, small_disk):
    """There is no run without a place for it."""
    project.make()
    with pytest.raises(OSError, match="No space left"), (small_disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    ran = project.run("evals", "--eval-workdir", str(small_disk / "out"))
    assert ran.code == 4, ran
    assert "No space left" in ran
    assert "Traceback" not in ran, ran
    assert "passed" not in ran


def test_a_read_only_work_directory_is_a_usage_error(project):
    """Root gives up the right to write everywhere for it."""
    project.make()
    (project.root / "outputs").mkdir(mode=0o555)
    rights = "-dac_override,-dac_read_search"
    plain_user = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*plain_user, *project.command("evals")], cwd=project.root, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 4, output
    assert "outputs/default" in output
    assert "--eval-workdir" in output
    assert "Traceback" not in output
    assert "passed" not in output
