"""Baselines as people save, list, show and remove them, and runs compared with them."""

from __future__ import annotations

import json

import pytest


def saved(project, name="main"):
    """The first line of each file of a baseline, by its pair."""
    files = sorted((project.root / "baselines" / name).rglob("*.jsonl"))
    return {head["pair"]: head for file in files for head in [json.loads(file.read_text().splitlines()[0])]}


@pytest.fixture
def evaluated(project):
    """Two models on two datasets, one of which is hard."""
    project.make(("a", "b"), ("one", "two"), samples=40)
    project.dataset("two", 40, wrong=4)
    assert project.run().code == 0
    return project


def test_a_run_is_saved_listed_shown_and_removed(evaluated):
    """What was saved is told file by file, and what is asked before it goes."""
    code, out, err = evaluated.evalrun("baseline", "save", "main")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["file", "samples", "size", "scores", "of"]
    assert lines[1].split()[:2] == ["baselines/main/echo/a/one.jsonl", "40"]
    assert lines[-1].startswith("baseline main: 4 pairs, 160 samples, ")
    assert lines[-1].endswith(f"; saved of run {evaluated.latest.name}")
    assert saved(evaluated)["echo/b/two"]["metrics"]["exact_match"]["value"] == 0.9

    code, out, _ = evaluated.evalrun("baseline", "list")
    assert out.splitlines()[1].split()[:4] == ["main", "4", "160", evaluated.latest.name]
    (told,) = json.loads(evaluated.evalrun("baseline", "list", "--json")[1])
    assert (told["name"], told["samples"], len(told["pairs"])) == ("main", 160, 4)

    code, out, _ = evaluated.evalrun("baseline", "show", "main")
    assert out.splitlines()[1].split() == ["pair", "metric", "value", "n", "better", "run", "evaluated"]
    assert out.splitlines()[3].split()[:5] == ["echo/a/two", "exact_match", "0.9000", "40", "higher"]

    code, out, _ = evaluated.evalrun("baseline", "rm", "main", answer="n\n")
    assert "remove baseline main: 4 pairs, 160 samples? [y/N]" in out
    assert len(saved(evaluated)) == 4
    assert evaluated.evalrun("baseline", "rm", "main", "--yes")[0] == 0
    assert [*(evaluated.root / "baselines").iterdir()] == []
    code, _, err = evaluated.evalrun("baseline", "list")
    assert (code, err) == (0, "baselines: no baseline here; save one with `evalrun baseline save NAME`\n")


def test_what_is_left_out_is_told_with_the_reason(evaluated):
    """First samples, pairs that were never done or breached their gates: they are no baseline by themselves."""
    evaluated.yaml(("a", "b"), ("one", "two"), gates={"exact_match": {"min": 0.95}})
    evaluated.run()
    evaluated.run("evals", "--eval-limit", "3")
    code, _, err = evaluated.evalrun("baseline", "save", "main")
    assert code == 0
    assert sorted(saved(evaluated)) == ["echo/a/one", "echo/b/one"]
    assert "2 pairs left out, breached gates: echo/a/two, echo/b/two; --breached takes these too" in err
    assert "4 pairs left out, of first samples alone: " in err
    code, _, err = evaluated.evalrun("baseline", "save", "main", "--force", "--breached")
    assert "breached" not in err
    assert (code, len(saved(evaluated))) == (0, 4)


def test_of_a_run_without_results_nothing_is_saved(project):
    """One line, and no directory."""
    project.make()
    (project.suite / "model.py").write_text("class Model:\n    def predict(self, batch):\n        raise RuntimeError\n")
    project.run()
    code, _, err = project.evalrun("baseline", "save", "main")
    assert code == 2
    assert "it has no results to save; nothing was saved" in err
    assert "1 pair left out, ended in an error: echo/a/one" in err
    assert not (project.root / "baselines").exists()


def test_some_pairs_of_a_baseline_are_saved_again(evaluated):
    """With -k and --force the others stay as they are."""
    evaluated.evalrun("baseline", "save", "main")
    before = saved(evaluated)
    code, _, err = evaluated.evalrun("baseline", "save", "main", "-k", "one")
    assert code == 2
    assert "it is there already; --force replaces it" in err
    evaluated.dataset("one", 40, wrong=1)
    evaluated.dataset("two", 40, wrong=2)
    evaluated.run()
    code, _, err = evaluated.evalrun("baseline", "save", "main", "-k", "one", "--force")
    assert (code, err) == (0, "2 pairs kept as before\n")
    after = saved(evaluated)
    values = {pair: head["metrics"]["exact_match"]["value"] for pair, head in after.items()}
    assert values == {"echo/a/one": 0.975, "echo/b/one": 0.975, "echo/a/two": 0.9, "echo/b/two": 0.9}
    assert after["echo/a/two"] == before["echo/a/two"]


@pytest.mark.parametrize("name", ["latest", "../main", "a/b", ".main", "-x"])
def test_no_name_leads_anywhere_else(evaluated, name):
    """Nothing is made of it."""
    words = ["--", name] if name.startswith("-") else [name]
    for command in ("save", "show", "rm"):
        code, _, err = evaluated.evalrun("baseline", command, *words)
        assert code == 2
        assert "baseline name: found" in err
        assert err.count("\n") == 1
    assert not (evaluated.root / "baselines").exists()


def test_names_of_all_letters_are_files_of_a_baseline(project):
    """Slashes in the name of a model too."""
    (project.suite / "größe").mkdir(parents=True)
    project.make(("größe/v1",), ("日本 語",), samples=5)
    assert project.run().code == 0
    assert project.evalrun("baseline", "save", "main")[0] == 0
    assert (project.root / "baselines/main/echo/größe_v1/日本 語.jsonl").is_file()
    assert list(saved(project)) == ["echo/größe/v1/日本 語"]
    assert "größe/v1/日本 語" in project.evalrun("baseline", "show", "main")[1]


def test_a_run_is_compared_with_a_baseline(evaluated):
    """By its name or directory; a run of that name gives way to it, and that is told."""
    evaluated.evalrun("baseline", "save", "main")
    assert evaluated.evalrun("diff", "main", "latest", "--exit-code")[:2] == (
        0,
        "4 pairs in both, 4 of them the same\n",
    )
    model = evaluated.suite / "model.py"
    model.write_text(model.read_text().replace("sample.input for", "-7 if int(sample.id) == 9 else sample.input for"))
    evaluated.run("evals", "--eval-run", "new")
    code, out, _ = evaluated.evalrun("diff", "main", "latest", "--exit-code")
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "echo/a/one  passed"
    assert lines[1].startswith("  exact_match  1.000 → 0.9750  (-0.025, worse, may be chance; ")
    assert lines[1].endswith("n=40)")
    assert lines[2] == "  exact_match: 1 right before, wrong now: 9"
    assert evaluated.evalrun("diff", "baselines/main", "latest")[1] == out
    told = json.loads(evaluated.evalrun("diff", "main", "latest", "--json")[1])
    assert (told["same"], told["pairs"][0]["changes"][0]["n"]) == (False, 40)
    run = evaluated.latest
    run.rename(run.with_name("main"))
    code, _, err = evaluated.evalrun("diff", "main", "main")
    assert code == 0
    assert "main: the baseline is compared; the run of that name by its directory: outputs/default/main" in err


def test_a_word_that_is_neither_run_nor_baseline_is_told_as_both(evaluated):
    """With the runs that there are."""
    code, _, err = evaluated.evalrun("diff", "mian", "latest")
    assert code == 2
    assert f"run mian: not found among 1 in outputs/default; the newest: {evaluated.latest.name}" in err
    assert "and no baseline mian in baselines" in err


def test_a_damaged_baseline_is_named_and_the_rest_is_compared(evaluated):
    """Its head is, or one of its lines."""
    evaluated.evalrun("baseline", "save", "main")
    one = evaluated.root / "baselines/main/echo/a/one.jsonl"
    two = evaluated.root / "baselines/main/echo/a/two.jsonl"
    one.write_text("<<<<<<< HEAD\n" + one.read_text())
    lines = two.read_text().splitlines()
    two.write_text("\n".join([*lines[:3], '["2","x",[NaN]]', *lines[4:]]) + "\n")
    code, out, err = evaluated.evalrun("diff", "main", "latest")
    assert code == 0
    assert "only in latest: echo/a/one" in out
    assert "two.jsonl:4: exact_match: found nan, accepted: finite numbers; save it again" in out
    assert "one.jsonl:1: found <<<<<<< HEAD, expected the head of a baseline" in err
    assert "4 pairs in both" not in out
    assert "one.jsonl:1" in evaluated.evalrun("baseline", "list")[2]


def test_a_run_that_goes_on_is_saved_as_far_as_it_is(evaluated):
    """A pair that is not done is none of it."""
    (evaluated.latest / "results/echo/b/one.json").unlink()
    code, _, err = evaluated.evalrun("baseline", "save", "main")
    assert (code, err) == (0, "1 pair left out, without a result: echo/b/one\n")
    assert len(saved(evaluated)) == 3


def test_a_place_that_gates_will_not_read_is_told_when_it_is_saved_to(evaluated):
    """Not first when a gate looks for it."""
    (evaluated.root / "baselines").mkdir()
    (evaluated.root / "baselines").chmod(0o777)
    code, _, err = evaluated.evalrun("baseline", "save", "main")
    assert (code, err) == (0, "baselines: others may write to it, so that gates do not read it: chmod go-w baselines\n")
