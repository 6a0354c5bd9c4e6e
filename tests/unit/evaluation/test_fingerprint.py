"""Fingerprints: what changes a prediction or a score, and nothing else; and the reason in words."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.protocol import Identity
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.fingerprint import prediction_parts, score_parts
from pytest_evalrun.rundir.differences import LABELS, difference
from pytest_evalrun.rundir.hashes import HashCache

IDENTITY = Identity("inputs 1", "references 1", 6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
PARTS = st.dictionaries(
    st.sampled_from([*sorted({*LABELS} - {"env"}), "params", "metrics", "future"]), VALUES, max_size=4
).map(lambda parts: parts | {name: {"key": parts[name]} for name in ("params", "metrics") if name in parts})


class NoHashes:
    """Knows no tree."""

    @staticmethod
    def changed_files(old, new):
        return None


@pytest.fixture
def hashes(tmp_path):
    cache = HashCache(tmp_path / "hashes.db", warn=pytest.fail)
    yield cache
    cache.close()


@pytest.fixture
def parts(shop, hashes):
    """``parts(identity=…, **settings)``: the parts of prediction and score, through JSON as they are stored."""

    def make(identity=IDENTITY, **settings):
        pair = shop.pair(**settings)
        found = prediction_parts(pair, identity, hashes), score_parts(pair, identity, hashes)
        return json.loads(json.dumps(found))

    return make


@given(PARTS, PARTS)
def test_nothing_differs_where_all_is_equal(old, new):
    """There is a reason exactly where the parts, as they are stored, are not the same."""
    same = stored(old) == stored(new)
    assert (difference(old, new, NoHashes) is None) == same
    assert difference(json.loads(json.dumps(old)), old, NoHashes) is None


def stored(parts):
    """As text; a part that is missing is as good as one that is null."""
    return json.dumps({name: part for name, part in parts.items() if part is not None}, sort_keys=True)


def test_results_of_another_rule_are_scored_again(parts):
    """What an older version scored has no version of the comparison: nobody is asked, and the reason is said."""
    prediction, score = parts()
    before = {name: part for name, part in score.items() if name != "comparison"}
    assert difference(before, score, NoHashes) == "values are compared by another rule"
    assert "cells" not in prediction


def test_tables_that_were_read_as_numbers_are_made_again(parts):
    """What a program wrote into CSV cannot be told from the numbers that an older version kept of it."""
    prediction, _ = parts(adapter="command", command="true", results={"csv": "a.csv"})
    before = {name: part for name, part in prediction.items() if name != "cells"}
    assert difference(before, prediction, NoHashes) == "cells of CSV results are text now"
    assert "cells" not in parts(adapter="command", command="true", results={"jsonl": "a.jsonl"})[0]


IGNORED = {
    "batch size": {"max_batch_size": 7},
    "retries": {"retries": 9},
    "failures allowed": {"max_failed": 3},
    "output place": {"out_subdir": ".elsewhere"},
    "gates": {"gates": {"exact_match": {"min": 1}}},
    "kind of hashes": {"fingerprint": "stat"},
    "environment, which only programs get": {"env": {"GATES": "1"}},
}


@pytest.mark.parametrize("settings", IGNORED.values(), ids=IGNORED)
def test_what_does_not_count(parts, settings):
    """How, how often and where a pair is run changes neither predictions nor scores."""
    assert parts(**settings) == parts()


PREDICTION = {
    "parameters": ({"params": {"plus": 1, "bad": []}}, "parameters changed (bad, plus)"),
    "preprocessing": ({"preprocess": {"scale": 2}}, "preprocessing changed"),
    "output": ({"output": {"kind": "class"}}, "output settings changed"),
    "limit": ({"limit": 3}, "limit changed"),
    "adapter": ({"adapter": "./model.py:Other"}, "adapter changed"),
    "inputs": ({"identity": Identity("inputs 2", "references 1", 6)}, "dataset changed"),
}


@pytest.mark.parametrize(("change", "reason"), PREDICTION.values(), ids=PREDICTION)
def test_what_changes_predictions(parts, change, reason):
    """Each part has its words; scores depend on them through the predictions only."""
    (old, old_score), (new, new_score) = parts(), parts(**change)
    assert difference(old, new, NoHashes) == reason
    assert difference(new, old, NoHashes) is not None
    assert old_score == new_score


ENDPOINT = {
    "adapter": "openai",
    "base_url": "http://127.0.0.1:1/v1",
    "model": "qwen",
    "sampling": {"temperature": 0},
    "prompt": {"template": "{{ q }}", "fewshot": {"from": "dev.jsonl", "n": 1}},
}
OF_AN_ENDPOINT = {
    "another template": ({"prompt": {**ENDPOINT["prompt"], "template": "Q: {{ q }}"}}, "prompt changed (template)"),
    "more examples": (
        {"prompt": {"template": "{{ q }}", "fewshot": {"from": "dev.jsonl", "n": 2}}},
        "prompt changed (few-shot examples)",
    ),
    "no examples": ({"prompt": {"template": "{{ q }}"}}, "prompt changed (few-shot examples)"),
    "another column of answers": ({"reference": "answer"}, "prompt changed (few-shot examples)"),
    "sampling": ({"sampling": {"temperature": 1}}, "sampling changed (temperature)"),
    "another model": ({"model": "llama"}, "name of the model at its endpoint changed"),
    "another endpoint": ({"base_url": "http://127.0.0.1:2/v1"}, "endpoint changed"),
    "another way": ({"api": "completions"}, "the way in which the endpoint is asked changed (api)"),
    "another field": ({"extra_body": {"top_k": 1}}, "extra fields of requests changed (top_k)"),
    "another server": ({"base_url": None, "serve": "serve {port}"}, "endpoint changed"),
}


@pytest.mark.parametrize(("change", "reason"), OF_AN_ENDPOINT.values(), ids=OF_AN_ENDPOINT)
def test_what_changes_the_answers_of_an_endpoint(parts, shop, change, reason):
    """Who is asked, and what: each has its words, and of a prompt it is told what of it changed."""
    (shop.root / "dev.jsonl").write_text('{"q": "a", "answer": 1}\n')
    old, new = parts(**ENDPOINT)[0], parts(**ENDPOINT | change)[0]
    assert difference(old, new, NoHashes) == reason


def test_a_file_of_examples_counts_by_content(parts, shop):
    """It is named where nothing else of the prompt changed."""
    (shop.root / "dev.jsonl").write_text('{"q": "a", "answer": 1}\n')
    old = parts(**ENDPOINT)[0]
    assert difference(old, parts(**ENDPOINT)[0], NoHashes) is None
    (shop.root / "dev.jsonl").write_text('{"q": "a", "answer": 2}\n')
    assert difference(old, parts(**ENDPOINT)[0], NoHashes) == "prompt changed (few-shot file dev.jsonl)"


UNASKED = {
    "key": {"api_key": "${KEY}"},
    "concurrency": {"concurrency": 3},
    "price": {"price": {"input": 1}},
    "limit of a request": {"request_timeout": 3},
    "proxy": {"proxy": "http://127.0.0.1:3"},
    "streaming": {"stream": True},
}


@pytest.mark.parametrize("settings", UNASKED.values(), ids=UNASKED)
def test_what_changes_no_answer_of_an_endpoint(parts, shop, settings):
    """How it is reached, and what it costs."""
    (shop.root / "dev.jsonl").write_text('{"q": "a", "answer": 1}\n')
    assert parts(**ENDPOINT, **settings) == parts(**ENDPOINT)


def test_the_environment_counts_for_programs_alone(parts):
    """And where an earlier version had counted it for other models too, nothing is made again for that."""
    program = {"adapter": "command", "command": "echo {inputs}"}
    (before, _), (after, _) = parts(**program), parts(**program, env={"SEED": "1"})
    assert difference(before, after, NoHashes) == "environment of the program changed"
    plain, _ = parts()
    assert difference(plain | {"env": {"GATES": "1"}}, plain, NoHashes) is None


SCORE = {
    "references": ({"identity": Identity("inputs 1", "references 2", 6)}, "references changed"),
    "parameter of a metric": (
        {"metrics": [{"exact_match": {"strip": True}}]},
        "metrics changed (exact_match)",
    ),
    "another metric": ({"metrics": ["exact_match", "./m.py:off_by"]}, "metrics changed (off_by)"),
}


@pytest.mark.parametrize(("change", "reason"), SCORE.values(), ids=SCORE)
def test_what_changes_scores_alone(parts, change, reason):
    """New labels or metrics never mean new inference."""
    (old, old_score), (new, new_score) = parts(), parts(**change)
    assert difference(old_score, new_score, NoHashes) == reason
    assert old == new


def test_the_cluster_of_samples_is_a_part_only_where_it_is_asked_for(parts):
    """Its column, and what that says of the samples: nobody is asked again, and all else stays what it was."""
    (asked, plain), (same, together) = parts(), parts(gate_rules={"cluster": "x", "confidence": 0.9})
    assert "cluster" not in plain
    assert (asked, {name: part for name, part in together.items() if name != "cluster"}) == (same, plain)
    moved = parts(Identity("inputs 1", "references 1", 6, "clusters 2"), gate_rules={"cluster": "x"})[1]
    for old, new in ((plain, together), (together, moved)):
        assert difference(old, new, NoHashes) == "which samples belong together changed"


SOURCES = {
    "model": ("weights.bin", 0, "model changed"),
    "adapter": ("model.py", 0, "adapter source changed"),
    "metric": ("m.py", 1, "metrics changed (wrong)"),
}


@pytest.mark.parametrize(("file", "place", "reason"), SOURCES.values(), ids=SOURCES)
def test_contents_count(parts, shop, file, place, reason):
    """One byte of a model, of the adapter's source or of a metric's source is a change; a new mtime is none."""
    path = shop.root / file
    before = parts(metrics=["./m.py:wrong"])
    path.write_bytes(path.read_bytes())
    assert parts(metrics=["./m.py:wrong"]) == before
    path.write_bytes(path.read_bytes() + b"#")
    after = parts(metrics=["./m.py:wrong"])
    assert difference(before[place], after[place], NoHashes) == reason
    assert before[1 - place] == after[1 - place]


def test_how_many_files_changed_is_told(hashes, tmp_path):
    """Where the cache knows both trees."""
    (tmp_path / "d").mkdir()
    names = [f"{i}.txt" for i in range(4)]

    def tree(text, among):
        for name in among:
            (tmp_path / "d" / name).write_text(text)
        return {"inputs": hashes.tree(tmp_path / "d", names)}

    first, second, third = tree("a", names), tree("b", names[:1]), tree("c", names[:3])
    assert difference(first, second, hashes) == "dataset changed (1 file)"
    assert difference(second, third, hashes) == "dataset changed (3 files)"
    assert difference({"inputs": "unknown"}, third, hashes) == "dataset changed"


def test_the_identity_version_explains_everything(parts):
    """It is named first, whatever else differs; a part that a later version added has its own name."""
    old, new = parts()[0], parts(params={"plus": 1})[0]
    assert difference(old, new | {"identity": 2}, NoHashes) == "identity version changed"
    assert difference(old, old | {"tokenizer": "x"}, NoHashes) == "tokenizer changed"


def test_what_an_older_version_made_otherwise_is_made_again(parts):
    """Where a built-in adapter or metric means something else by now, what was kept before it did is no longer it."""
    asked, scored = parts(adapter="onnx", metrics=["psnr", "exact_match"])
    before = {name: part for name, part in asked.items() if name != "adapter_version"}
    assert difference(before, asked, NoHashes) == "adapter version changed"
    metrics = {name: {key: metric[key] for key in ("use", "params")} for name, metric in scored["metrics"].items()}
    assert difference(scored | {"metrics": metrics}, scored, NoHashes) == "metrics changed (psnr)"
    assert "adapter_version" not in parts()[0]


def test_secrets_are_named_and_never_read(parts, monkeypatch):
    """Another token is no other prediction, and no fingerprint shows it."""
    monkeypatch.setenv("TOKEN", "hunter2222")
    assert "hunter2222" not in json.dumps(parts(params={"key": "${TOKEN}"}))
    assert parts(params={"key": "${TOKEN}"})[0]["params"] == {"key": "${TOKEN}"}


def test_a_model_that_is_not_there(parts, shop):
    """The file is named."""
    (shop.root / "weights.bin").unlink()
    with pytest.raises(PairError, match=r"model .*weights.bin cannot be read: No such file"):
        parts()


def test_a_task_without_a_model_file(shop, hashes):
    """A program on its own has nothing to hash."""
    from dataclasses import replace

    pair = shop.pair()
    pair = replace(pair, task=replace(pair.task, path=None))
    assert prediction_parts(pair, IDENTITY, hashes)["model"] is None


BOARD = {"adapter": "ssh", "ask": "batch", "command": "sh m.py {batch}", "devices": [{"name": "b1"}]}
OF_NO_BOARD = {
    "which boards": {"devices": [{"name": "b2", "host": "h", "labels": {"soc": "j5"}, "slots": 4}]},
    "labels": {"device": {"soc": "j5"}},
    "optional": {"optional": True},
    "home and tidying": {
        "env": {"REMOTE_TASK_HOME": "/data", "CLEANUP_SHARED_MODELS": "0", "CLEANUP_REMOTE_WORKDIR": "0"}
    },
}


@pytest.mark.parametrize("settings", OF_NO_BOARD.values(), ids=OF_NO_BOARD)
def test_on_which_board_does_not_count(parts, settings):
    """Boards, their labels and homes, and what is left there change no prediction."""
    assert parts(**BOARD | settings) == parts(**BOARD)


def test_what_is_sent_along_counts(shop, parts):
    """A file of ``upload`` that changed, came or went is named; one that is not sent changes nothing."""
    (shop.root / "lib").mkdir()
    (shop.root / "lib" / "a.py").write_text("1")
    settings = BOARD | {"upload": ["lib/*.py"]}
    before, _ = parts(**settings)
    (shop.root / "lib" / "notes.txt").write_text("x")
    assert parts(**settings)[0] == before
    (shop.root / "lib" / "a.py").write_text("2")
    assert difference(before, parts(**settings)[0], NoHashes) == "program changed (lib/a.py)"
    (shop.root / "lib" / "b.py").write_text("2")
    assert difference(before, parts(**settings)[0], NoHashes) == "program changed (lib/a.py, lib/b.py)"


PROGRAM_FILE = "86b0c5a1e2b73b08fd54c727f4458649ed9fe3ad1b6e8ac9460c070113509a1e"
SCRIPT = {"run.sh": PROGRAM_FILE}
OF_EVERY_KIND = {
    "identity": 1,
    "model": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",
    "inputs": "inputs 1",
    "adapter_source": None,
    "preprocess": {},
    "output": {},
    "params": {},
}


def asked(*words, ask="pair", results=None, shell=False, by="position"):
    how = {"words": [*words], "ask": ask, "results": results or {}, "shell": shell, "rows": "one", "range": by}
    return {"command": how, "program": SCRIPT}


# What results that are kept were made with, kind by kind, as versions before the registry of kinds wrote it down.
KEPT = {
    "onnx": (
        {"adapter": "onnx", "preprocess": {"input": "vector"}, "output": {"kind": "class"}, "limit": 3},
        {"adapter_version": 2, "preprocess": {"input": "vector"}, "output": {"kind": "class"}, "limit": 3},
    ),
    "python": (
        {"params": {"plus": 1}, "preprocess": {"scale": 2}, "command": "true", "env": {"A": "1"}},
        {"params": {"plus": 1}, "preprocess": {"scale": 2}},
    ),
    "words of another kind": (
        {"output": {"kind": "class"}, "results": {"csv": "a.csv"}},
        {"output": {"kind": "class"}},
    ),
    "command, asked once": (
        {
            "adapter": "command",
            "command": ["sh", "run.sh", "{dataset}", "{low}"],
            "results": {"csv": "out_{low}.csv", "id_column": "id"},
            "range": "id",
            "env": {"SEED": "1", "REMOTE_TASK_HOME": "/x"},
        },
        {
            **asked("sh", "run.sh", "{dataset}", "{low}", results={"csv": "out_{low}.csv", "id_column": "id"}, by="id"),
            "cells": "text",
            "env": {"SEED": "1"},
        },
    ),
    "command, asked by batches": (
        {
            "adapter": "command",
            "ask": "batch",
            "shell": True,
            "command": "sh run.sh {inputs} > {output}/o.jsonl",
            "results": {"jsonl": "o.jsonl"},
            "params": {"t": "${TOKEN}"},
        },
        {
            **asked(
                "sh",
                "run.sh",
                "{inputs}",
                ">",
                "{output}/o.jsonl",
                ask="batch",
                shell=True,
                results={"jsonl": "o.jsonl"},
            ),
            "params": {"t": "${TOKEN}"},
        },
    ),
    "command, a server": (
        {"adapter": "command", "ask": "server", "command": "python run.sh {model}", "output": {"kind": "class"}},
        {**asked("python", "run.sh", "{model}", ask="server"), "output": {"kind": "class"}},
    ),
    "command beside a board": (
        {
            "adapter": "command",
            "remote": True,
            "command": "sh run.sh",
            "results": {"metrics": "m.json"},
            "devices": [{"name": "b1"}],
        },
        asked("sh", "run.sh", results={"metrics": "m.json"}),
    ),
    "ssh": (
        {
            "adapter": "ssh",
            "ask": "batch",
            "command": "sh run.sh {batch}",
            "results": {"csv": "o.csv"},
            "devices": [{"name": "b1"}],
            "upload": ["lib"],
        },
        {
            **asked("sh", "run.sh", "{batch}", ask="batch", results={"csv": "o.csv"}),
            "cells": "text",
            "program": SCRIPT | {"lib/a.py": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},
        },
    ),
}


@pytest.mark.parametrize(("settings", "counted"), KEPT.values(), ids=KEPT)
def test_results_that_are_kept_are_of_the_same_identity(parts, shop, settings, counted):
    """What made a result in an earlier version makes it now: nothing is asked again for how we sort settings."""
    (shop.root / "run.sh").write_text("echo\n")
    (shop.root / "lib").mkdir()
    (shop.root / "lib" / "a.py").write_text("1")
    adapter = settings.get("adapter", "./model.py:Model")
    if "adapter" not in settings:
        source = hashlib.sha256((shop.root / "model.py").read_bytes()).hexdigest()
        counted = counted | {"adapter_source": source}
    assert parts(**settings)[0] == OF_EVERY_KIND | {"adapter": adapter} | counted
