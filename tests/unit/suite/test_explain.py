"""Where each setting of a pair comes from."""

from __future__ import annotations

from dataclasses import replace

from pytest_evalrun.adapters.kinds import PythonSettings
from pytest_evalrun.programs.commands import ProgramSettings
from pytest_evalrun.suite.explain import ExplainedSetting, explain
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.runconfig import eval_set_layer
from pytest_evalrun.suite.settings import Settings

ABOVE = ["gates.top1.max=1", "gates.top1.max_drop=5%", "gates.top1.baseline=main", "gate_rules.tier=critical"]


def test_every_setting_has_a_row_with_its_source(tree):
    """File and line, or the variable or option; what nobody sets is built in."""
    tree(
        "adapter: ./my.py:Model\ndiscover:\n  model_file_ext: .bin\n  in_subdir: in\nmetrics:\n- top1\n"
        "- topk: {k: 3, name: top3}\nparams: {key: '${API_KEY}'}\ngates:\n  top1:\n    min: 0.9\n"
        "gate_rules: {confidence: 0.9}\n"
    )
    tree.write({"a/.run_config": "\nMAX_BATCH_SIZE=7\nMY=1\n"})
    pair = tree.pair("a/d1", environ={"EVALRUN_LIMIT": "5"}, eval_set=[eval_set_layer(ABOVE)])
    rows = {row.setting: row for row in explain(pair)}
    expected = [
        ExplainedSetting("adapter", "./my.py:Model", "suite", "evals/evalrun.yaml:1"),
        ExplainedSetting("in_subdir", "in", "suite", "evals/evalrun.yaml:4"),
        ExplainedSetting("metrics", ["top1", {"topk": {"k": 3, "name": "top3"}}], "suite", "evals/evalrun.yaml:5"),
        ExplainedSetting("params.key", "${API_KEY}", "suite", "evals/evalrun.yaml:8"),
        ExplainedSetting("gates.top1.min", 0.9, "suite", "evals/evalrun.yaml:11"),
        ExplainedSetting("gates.top1.max", 1.0, "--eval-set", "--eval-set"),
        ExplainedSetting("gates.top1.max_drop", "5%", "--eval-set", "--eval-set"),
        ExplainedSetting("gates.top1.by", "value", "built-in", ""),
        ExplainedSetting("gate_rules.tier", "critical", "--eval-set", "--eval-set"),
        ExplainedSetting("gate_rules.confidence", 0.9, "suite", "evals/evalrun.yaml:12"),
        ExplainedSetting("gate_rules.when_unsure", "value", "built-in", ""),
        ExplainedSetting("max_batch_size", 7, "task .run_config", "evals/a/.run_config:2"),
        ExplainedSetting("env.MY", "1", "task .run_config", "evals/a/.run_config:3"),
        ExplainedSetting("limit", 5, "environment", "EVALRUN_LIMIT"),
        ExplainedSetting("retries", 2, "built-in", ""),
        ExplainedSetting("suffixes", [], "built-in", ""),
        ExplainedSetting("preprocess", {}, "built-in", ""),
    ]
    assert [rows[row.setting] for row in expected] == expected


def test_no_setting_is_left_out(suite):
    """Each setting of all kinds of models has at least one row, and each word of the pair's own kind."""
    common = {*Settings.__dataclass_fields__} - {"words", "origins"}
    for adapter, own in (("./my.py:Model", PythonSettings), ("ssh", ProgramSettings)):
        layer = Layer("suite", "evalrun.yaml", {"adapter": adapter})
        rows = explain(replace(suite().pair("m1/clean"), layers=(layer,)))
        assert {row.setting.partition(".")[0] for row in rows} == common | {*own.__dataclass_fields__}
