"""From evalrun.yaml to pairs: layouts, layers, tags, skips, and every mistake that is a usage error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_evalrun.suite.runconfig import command_line_layer, eval_set_layer

ODD = ["a b", 'it\'s "q"', "$(touch pwned)", "任务甲", "x" * 200, "[a]*"]


def test_matrix_pairs_models_with_datasets_in_written_order(suite):
    """Every model x every dataset; the pairs of one model in a row; names default to stems."""
    assert suite().ids() == ["m1/clean", "m1/noisy", "m2/clean", "m2/noisy"]
    found = suite.discover()
    assert (found.name, found.root, found.file) == ("evals", str(suite.root), str(suite.file))
    assert found.has_adapter
    assert found.pairs[0].dataset.path == str(suite.root / "clean.csv")
    assert found.pairs[0].task.path is None


def test_globs_are_one_entry_a_match(suite):
    """Matches are sorted and named by their stems, directories by their whole names."""
    suite("models: [{path: 'models/*.bin'}]\ndatasets: [{path: 'data/*'}]\n")
    suite.write({"models/b.bin": "", "models/a.bin": "", "data/v1.5/x": "", "data/u.csv": ""})
    assert suite.ids() == ["a/u", "a/v1.5", "b/u", "b/v1.5"]
    assert not suite.discover().has_adapter


def test_a_dataset_of_a_hub_is_no_path(suite):
    """It is not looked for on a disk; what comes last is its name."""
    suite("adapter: ./my.py:Model\nmodels: [{name: m1}]\ndatasets: [{path: 'hf://openai/gsm8k', format: hf}]\n")
    assert suite.ids() == ["m1/gsm8k"]
    assert suite.discover().pairs[0].dataset.path == "hf://openai/gsm8k"


def test_path_with_brackets_is_a_path_before_it_is_a_glob(suite):
    """What is there is meant."""
    suite("models: [{path: '[m].bin'}]\ndatasets: [{path: clean.csv}]\n").write({"[m].bin": ""})
    assert suite.ids() == ["[m]/clean"]


def test_tree_finds_tasks_and_datasets(tree):
    """A directory with a model is a task, its directories with inputs are datasets; both sorted."""
    tree.write({"group/model.txt": "", "a/notes/readme": "", "z/deep/er/m.bin": ""})
    for place in ("a/.hidden/in", "a/output.v1/in", "out/m/in", "a/inner/in", ".h/d/in", "z/deep/er/d/in"):
        (tree.root / place).mkdir(parents=True)
    tree.write({"out/m.bin": "", ".h/m.bin": "", "a/inner/evalrun.yaml": ""})
    assert tree.ids() == ["a/d1", "a/d2", "group/b/d1"]
    pair = tree.pair("group/b/d1")
    assert pair.task.path == str(tree.root / "group/b/m.bin")
    assert pair.dataset.path == str(tree.root / "group/b/d1")
    assert pair.settings.in_subdir == "in"


def test_tree_depth_can_be_set(tree):
    """One level only, where two would find too much."""
    tree("adapter: ./my.py:Model\ndiscover: {model_file_ext: .bin, in_subdir: in, max_depth: 1}\n")
    assert tree.ids() == ["a/d1", "a/d2"]


def test_tree_reads_what_to_look_for_from_any_layer(tree):
    """Script, environment and command line can say what `discover` does not; a task's own .run_config wins for it."""
    tree("adapter: ./my.py:Model\nscript: eval.sh\n")
    tree.write({"eval.sh": "MODEL_FILE_EXT=.bin\nIN_SUBDIR=in\n", "a/.run_config": "IN_SUBDIR=own\n"})
    (tree.root / "a/d1/own").mkdir()
    (tree.root / "a/d2/yet").mkdir()
    assert tree.settings("a/d1").in_subdir == "own"
    tree.write({"a/d2/.run_config": "IN_SUBDIR=yet\n"})
    assert tree.ids() == ["a/d1", "a/d2", "group/b/d1"]
    assert tree.ids(eval_set=[eval_set_layer(["in_subdir=in"])]) == ["a/d1", "a/d2", "group/b/d1"]
    assert tree.ids(command_line=[command_line_layer("--eval-in-subdir", "in_subdir", "yet")]) == ["a/d1", "a/d2"]


HIDDEN = {
    "of a dataset": ({"a/d1/.run_config": "IN_SUBDIR=nope\n"}, ["a/d1", "a/d2", "group/b/d1"]),
    "of a dataset that has no inputs": ({"a/d3/.run_config": "IN_SUBDIR=in\n"}, ["a/d1", "a/d2", "a/d3", "group/b/d1"]),
    "of a task": ({"a/.run_config": "IN_SUBDIR=nope\n"}, ["a/d1", "a/d2", "group/b/d1"]),
    "of a task, and one has it": ({"a/.run_config": "IN_SUBDIR=x\n", "a/d2/x/1": ""}, ["a/d1", "a/d2", "group/b/d1"]),
    "beside what is no dataset": (
        {"a/.run_config": "IN_SUBDIR=nope\n", "a/notes/1": ""},
        ["a/d1", "a/d2", "group/b/d1"],
    ),
}


@pytest.mark.parametrize(("files", "ids"), HIDDEN.values(), ids=HIDDEN)
def test_no_run_config_hides_a_pair(tree, files, ids):
    """Whatever a .run_config says of inputs, what would be a pair without it is one, and its own error later."""
    assert tree.write(files).ids() == ids


def test_a_task_that_alone_names_its_inputs_is_not_hidden_either(tree):
    """Where nothing else says what inputs are called, all its directories are meant; above it, its word is void."""
    tree("adapter: ./my.py:Model\ndiscover: {model_file_ext: .bin}\n")
    tree.write({"a/.run_config": "IN_SUBDIR=nope\n", "group/b/.run_config": "IN_SUBDIR=in\n"})
    assert tree.ids() == ["a/d1", "a/d2", "group/b/d1"]
    assert tree.ids(eval_set=[eval_set_layer(["in_subdir=in"])]) == ["a/d1", "a/d2", "group/b/d1"]
    assert "no pair was found" in tree.problem(eval_set=[eval_set_layer(["in_subdir=nope"])])


def test_layers_lie_in_the_order_that_is_promised(tree):
    """Script, imports, suite, override, environment, command line, task, dataset, --eval-set: each beats the last."""
    tree(
        "import: base.yaml\nscript: eval.sh\nmax_batch_size: 3\nadapter: ./my.py:Model\n"
        "discover: {model_file_ext: .bin, in_subdir: in}\noverrides: [{match: a/*, max_batch_size: 4}]\n"
    )
    tree.write({"eval.sh": "MAX_BATCH_SIZE=1\n", "base.yaml": "max_batch_size: 2\n"})
    tree.write({"a/.run_config": "MAX_BATCH_SIZE=7\n", "a/d1/.run_config": "MAX_BATCH_SIZE=8\n"})
    pair = tree.pair(
        "a/d1",
        command_line=[command_line_layer("--eval-batch-size", "max_batch_size", 6)],
        eval_set=[eval_set_layer(["max_batch_size=9"])],
        environ={"MAX_BATCH_SIZE": "5"},
    )
    speaking = [layer for layer in pair.layers if "max_batch_size" in layer.values]
    assert [layer.values["max_batch_size"] for layer in speaking] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [layer.kind for layer in speaking] == [
        "script",
        "suite",
        "suite",
        "override",
        "environment",
        "command line",
        "task .run_config",
        "dataset .run_config",
        "--eval-set",
    ]


def test_matrix_entries_lie_above_the_suite(suite):
    """Model entry, then dataset entry, then overrides in order."""
    suite(
        "limit: 1\nmodels: [{name: m, limit: 2, retries: 5}]\ndatasets: [{path: clean.csv, limit: 3}]\n"
        "overrides: [{match: 'm/*', limit: 4}, {match: '*/clean', limit: 5}]\n"
    )
    pair = suite.pair("m/clean")
    assert [layer.values["limit"] for layer in pair.layers] == [1, 2, 3, 4, 5]
    assert (pair.settings.limit, pair.settings.retries) == (5, 5)


def test_matrix_reads_run_configs_of_directories(suite):
    """A dataset that is a directory, and a model that has one for itself, may have a .run_config."""
    suite("models: [{path: one/m.bin}, {path: both/a.bin}, {path: both/b.bin}]\ndatasets: [{path: data}]\n")
    suite.write({"one/m.bin": "", "both/a.bin": "", "both/b.bin": "", "data/x": ""})
    suite.write({"one/.run_config": "LIMIT=1\n", "both/.run_config": "LIMIT=2\n", "data/.run_config": "RETRIES=7\n"})
    settings = {pair.id: (pair.settings.limit, pair.settings.retries) for pair in suite.discover().pairs}
    assert settings == {"m/data": (1, 7), "a/data": (None, 7), "b/data": (None, 7)}
    assert suite.pair("m/data").task.directory == str(suite.root / "one")
    assert suite.pair("a/data").task.directory == str(suite.root)


def test_tags_come_from_everywhere_each_once(suite):
    """Suite, model, dataset, override, in this order."""
    suite(
        "tags: [s]\nmodels: [{name: m, tags: [a, s]}]\ndatasets: [{path: clean.csv, tags: [b]}]\n"
        "overrides: [{match: '*', tags: [c, a]}]\n"
    )
    assert suite.pair("m/clean").tags == ("s", "a", "b", "c")


def test_skip_files_and_entries_say_why(tree):
    """The first line of a .skip is the reason; an empty one is named itself."""
    tree.write({"a/.skip": "board is broken\nsince May\n", "group/b/d1/.skip": ""})
    assert [pair.skip for pair in tree.discover().pairs] == [
        "board is broken",
        "board is broken",
        "`.skip` in evals/group/b/d1",
    ]


def test_skip_in_a_matrix(suite):
    """By entry, by override, and by a file in the dataset's directory."""
    suite(
        "models: [{name: a, skip: old}, {name: b}, {name: c}]\ndatasets: [{path: data}, {path: clean.csv}]\n"
        "overrides: [{match: c/clean, skip: too slow}]\n"
    ).write({"data/.skip": "wrong labels"})
    assert {pair.id: pair.skip for pair in suite.discover().pairs} == {
        "a/data": "old",
        "a/clean": "old",
        "b/data": "wrong labels",
        "b/clean": None,
        "c/data": "wrong labels",
        "c/clean": "too slow",
    }


def test_code_that_an_imported_file_names_may_lie_beside_it(suite):
    """What is in the suite comes first, for there paths begin; data are looked for in the suite alone."""
    suite(
        "import: ../shared/a.yaml\nadapter: openai\nbase_url: http://127.0.0.1:1/v1\nmodels: [{name: m}]\n"
        "datasets: [{path: clean.csv}]\n"
    ).write(
        {
            "../shared/a.yaml": 'metrics: ["./own.py:score", {"./both.py:score": {name: b}}, "./my.py:Model"]\n'
            "params: {from: shown.jsonl, format: shown.jsonl}\nprompt: {fewshot: {from: shown.jsonl}}\n",
            "../shared/own.py": "def score(p, r): return 1\n",
            "../shared/both.py": "",
            "../shared/shown.jsonl": "",
            "both.py": "def score(p, r): return 1\n",
        }
    )
    settings = suite.settings("m/clean")
    assert [metric.use for metric in settings.metrics] == ["../shared/own.py:score", "./both.py:score", "./my.py:Model"]
    assert settings.own.prompt == {"fewshot": {"from": "../shared/shown.jsonl"}}
    assert settings.params == {"from": "shown.jsonl", "format": "shown.jsonl"}


def test_what_requests_have_is_said_key_by_key(suite):
    """One more of the sampling takes nothing away from what lower layers say."""
    suite(
        "import: base.yaml\nadapter: openai\nbase_url: http://127.0.0.1:1/v1\n"
        "models: [{name: m, sampling: {seed: 1}}]\ndatasets: [{path: clean.csv}]\n",
        **{"base.yaml": "sampling: {temperature: 0, max_tokens: 64}\nprice: {input: 1}\n"},
    )
    own = suite.settings("m/clean", eval_set=[eval_set_layer(["sampling.temperature=0.7", "price.output=2"])]).own
    assert own.sampling == {"temperature": 0.7, "max_tokens": 64, "seed": 1}
    assert own.price == {"input": 1, "output": 2}


def test_imports_lie_below_and_are_read_once(suite):
    """An import's imports lie below it; entries are those of the highest file that has them; overrides add up."""
    suite(
        "import: [../shared/a.yml, ../shared/b.yml]\nretries: 9\nmodels: [{name: m}]\n"
        "overrides: [{match: m/clean, limit: 2}]\n"
    ).write(
        {
            "../shared/a.yml": "import: c.yml\nlimit: 1\nretries: 1\nparams: {x: 1}\nname: shared\n",
            "../shared/b.yml": "import: c.yml\nparams: {y: 2}\ndatasets: [{path: clean.csv}]\n",
            "../shared/c.yml": "params: {x: 0, z: 0}\n"
            "overrides: [{match: '*/none', limit: 7}, {match: 'm/*', limit: 8}]\n",
        }
    )
    found = suite.discover()
    settings = found.pairs[0].settings
    assert found.name == "shared"
    assert settings.params == {"x": 1, "y": 2, "z": 0}
    assert (settings.retries, settings.limit) == (9, 2)
    assert settings.origins["params.z"].source.endswith("shared/c.yml")


@pytest.mark.parametrize("name", ODD, ids=["space", "quotes", "shell", "Chinese", "200 letters", "brackets"])
def test_odd_names_work_in_both_layouts(suite, name):
    """Spaces, quotes, shell code, Chinese and 200 letters are names like others."""
    suite(f"models: [{{name: {name!r}}}]\ndatasets: [{{name: {name!r}, path: clean.csv}}]\n".replace("\\'", "''"))
    assert suite.ids() == [f"{name}/{name}"]
    suite("discover: {model_file_ext: .bin, in_subdir: in}\n").write({f"{name}/m.bin": ""})
    (suite.root / name / name / "in").mkdir(parents=True)
    pair = suite.pair(f"{name}/{name}")
    assert Path(pair.task.path).is_file()
    assert "/" not in pair.key.task
    assert not (suite.root / "pwned").exists()


def test_protected_directories_are_those_of_data_and_outputs(suite):
    """pytest must walk into none of them; a dataset that holds the suite is opened, its inputs are not."""
    suite(
        "models: [{name: m}]\ndatasets: [{path: data}, {path: clean.csv}, {name: here, path: ., in_subdir: in}]\n"
        "references: ../gold\nout_subdir: .results\n"
    ).write({"data/x": "", "in/x": ""})
    inside = {os.path.relpath(path, suite.root) for path in suite.discover().protected}
    assert inside == {"data", "gold", "../gold", ".results", "data/.results", "in"}


def test_protected_directories_of_a_tree_are_the_datasets(tree):
    """What lies in a dataset is covered by it."""
    assert tree.discover().protected == tuple(str(tree.root / place) for place in ("a/d1", "a/d2", "group/b/d1"))


def test_data_is_never_listed(tree, monkeypatch):
    """The cost of a dataset does not depend on what is in it."""
    listed = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(os.path.relpath(path, tree.root)) or real(path))
    tree.discover()
    assert set(listed) == {".", "a", "group", "group/b"}


def test_layers_are_shared_between_pairs(suite):
    """10,000 pairs must not mean 10,000 copies."""
    suite("limit: 1\nmodels: [{name: a, limit: 2}, {name: b}]\ndatasets: [{path: clean.csv}, {path: noisy.csv}]\n")
    pairs = suite.discover().pairs
    assert len({id(layer) for pair in pairs for layer in pair.layers}) == 2
    assert pairs[0].task is pairs[1].task
