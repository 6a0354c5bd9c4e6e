"""Whatever a name holds, it is only a name."""

from __future__ import annotations

TASKS = (
    "with space",
    'it\'s "quoted"',
    "$(touch owned)",
    "`touch owned`; touch owned & x | y > owned",
    "任务 A",
    "brackets [1] and {2}",
    "group/sub task",
    "%s \\d * ? ~",
    "n" * 200,
    "长" * 70,
)
DATASETS = ("data $(touch owned)", "数据 集", "d" * 200)


def test_odd_names_work_everywhere(project):
    """Run, reuse, task list, summary, failure report and the command; nothing is executed, nothing lies outside."""
    project.make(models=("a",))
    project.yaml(
        (),
        (),
        models=[{"name": name, "path": "a.bin"} for name in TASKS],
        datasets=[{"name": name, "path": "one.jsonl"} for name in DATASETS],
        gates={"exact_match": {"min": 0.5}},
    )
    before = set(project.suite.iterdir())
    count = len(TASKS) * len(DATASETS)
    ran = project.run("evals", "-n", "2", "--junitxml", "junit.xml")
    assert ran.code == 0, ran
    assert f"{count} passed" in ran
    again = project.run("evals", "-n", "2")
    assert again.output.count("reused: unchanged since") == count, again
    states = (project.latest / ".task_list").read_text().splitlines()
    assert [line for line in states if line.startswith("-")] == [f"-{name}|2" for name in DATASETS] * len(TASKS)
    for name in ("results", "predictions", "logs/infer", "state"):
        assert all(path.is_dir() for path in (project.latest / name / "echo").iterdir())
        assert len(list((project.latest / name / "echo").iterdir())) == len(TASKS)
    summary = (project.latest / "summary/summary.csv").read_text()
    for name in (TASKS[0], TASKS[2], TASKS[4], TASKS[-2], TASKS[-1], DATASETS[1]):
        assert name in summary, name
        assert f"{name}" in ran.output or len(name) > 70, name
    project.dataset("one", 8, wrong=8)
    ran = project.run("evals", "-n", "2", "-k", "touch and 数据")
    assert ran.code == 1, ran
    assert "2 failed" in ran, ran
    assert "echo/$(touch owned)/数据 集: 1 gate breached" in ran
    shown = project.evalrun("show", f"{TASKS[2]}/{DATASETS[1]}", "--wrong")[1]
    assert len(shown.splitlines()) == 9, shown
    assert project.evalrun("list", "--ids")[1].count("evalrun.yaml::test_pair[") == count
    assert "max_batch_size" in project.evalrun("explain", f"echo/{TASKS[1]}/{DATASETS[0]}")[1]
    assert not list(project.root.parent.rglob("owned"))
    assert {path for path in project.suite.iterdir() if path.name != "__pycache__"} == before
    assert {path.name for path in project.root.iterdir()} == {"evals", "outputs", "pytest.ini", "junit.xml"}


def test_names_that_differ_in_case_only_are_refused(project):
    """On some file systems they would be one file."""
    project.make(models=("a",))
    project.yaml((), ("one",), models=[{"name": "Mlp", "path": "a.bin"}, {"name": "mlp", "path": "a.bin"}])
    ran = project.run("evals")
    assert ran.code == 4, ran
    assert "Mlp" in ran
    assert "mlp" in ran
