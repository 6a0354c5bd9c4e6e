"""Layers resolved to one value a setting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.suite.gates import Gate
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.settings import MetricSpec, Settings, resolve


def layers(*values):
    return [Layer(f"layer {place}", "test", each) for place, each in enumerate(values)]


def test_without_layers_everything_is_built_in():
    """The defaults are those of Settings, and have no origin."""
    assert resolve([]) == Settings()


def test_mappings_are_merged_key_by_key():
    """A higher layer adds to params and replaces single keys; the key's origin follows."""
    stack = layers({"params": {"a": 1, "b": {"x": 1}}}, {"params": {"b": {"y": 2}, "c": 3}})
    settings = resolve(stack)
    assert settings.params == {"a": 1, "b": {"y": 2}, "c": 3}
    assert settings.origins["params.a"] is stack[0]
    assert settings.origins["params.b"] is stack[1]


def test_gates_are_merged_one_level_deeper():
    """A later gate on the same metric changes only the limits that it names."""
    stack = layers(
        {"gates": {"top1": {"min": 0.9, "max": 1}, "mae": {"max": 3}}},
        {"gates": {"top1": {"min": 0.8}}},
    )
    settings = resolve(stack)
    assert settings.gates == {"top1": Gate(min=0.8, max=1), "mae": Gate(max=3)}
    assert settings.origins["gates.top1.min"] is stack[1]
    assert settings.origins["gates.top1.max"] is stack[0]


def test_layers_are_left_as_they_are():
    """Layers are shared by thousands of pairs: merging must not write into them."""
    stack = layers({"params": {"a": 1}, "gates": {"x": {"min": 1}}}, {"params": {"a": 2}, "gates": {"x": {"min": 2}}})
    resolve(stack)
    assert stack[0].values == {"params": {"a": 1}, "gates": {"x": {"min": 1}}}


def test_lists_are_replaced():
    """A list is one value."""
    assert resolve(layers({"inputs": ["a", "b"]}, {"inputs": ["c"]})).inputs == ("c",)


def test_metrics_by_name_path_and_with_parameters():
    """A metric is reported under its name, that of its object, or the one that `name` gives."""
    items = ["top1", {"topk": {"k": 3}}, "./m.py:score", {"./m.py:score": {"name": "mine", "p": 1}}, "pkg.mod:Deep"]
    assert resolve(layers({"metrics": items})).metrics == (
        MetricSpec("top1", "top1"),
        MetricSpec("topk", "topk", {"k": 3}),
        MetricSpec("score", "./m.py:score"),
        MetricSpec("mine", "./m.py:score", {"p": 1}),
        MetricSpec("Deep", "pkg.mod:Deep"),
    )


PLUGINS = {
    "alone": ({}, ["ssim", "psnr"]),
    "beside metrics of the suite": ({"adapter": "onnx", "metrics": ["mae", "psnr"]}, ["mae", "psnr", "ssim"]),
    "of a program, beside metrics": ({"adapter": "command", "metrics": ["mae"]}, ["mae"]),
    "of a program": ({"adapter": "command"}, ["ssim", "psnr"]),
    "of a program on a board": ({"adapter": "ssh"}, ["ssim", "psnr"]),
    "of a program that scores": ({"adapter": "command", "results": {"metrics": "m.json"}}, []),
}


@pytest.mark.parametrize(("suite", "names"), PLUGINS.values(), ids=PLUGINS)
def test_post_process_plugin_names_metrics(suite, names):
    """The seed's variable asks for metrics of ours, each once, of a program only where nothing else does."""
    settings = resolve(layers(suite, {"post_process_plugin": "ssim, psnr,ssim"}))
    assert [spec.name for spec in settings.metrics] == names
    assert settings.post_process_plugin == "ssim, psnr,ssim"


@pytest.mark.parametrize("word", ["plugin1", "psnr.py", "a.b"])
def test_other_words_in_post_process_plugin_are_the_programs(word):
    """A program is handed what is no metric of ours, and scored by what is one."""
    settings = resolve(layers({"adapter": "command"}, {"post_process_plugin": f"{word},psnr"}))
    assert [spec.name for spec in settings.metrics] == ["psnr"]


def test_what_only_discovery_needs_is_no_setting():
    """model_file_ext lies in layers, but says nothing of a pair."""
    assert resolve(layers({"model_file_ext": ".onnx"})) == Settings()


scalars = st.fixed_dictionaries(
    {},
    optional={
        "adapter": st.sampled_from(["onnx", "./a.py:A"]),
        "limit": st.integers(1, 9) | st.none(),
        "retries": st.integers(0, 9),
        "params": st.dictionaries(st.sampled_from("abc"), st.integers()),
    },
)


@given(st.lists(scalars, max_size=6))
def test_higher_layer_always_wins(values):
    """Whatever lies below, a setting has the value of the highest layer that names it, and says so."""
    stack = layers(*values)
    settings = resolve(stack)
    for name in ("adapter", "limit", "retries"):
        naming = [layer for layer in stack if name in layer.values]
        expected = naming[-1].values[name] if naming else getattr(Settings(), name)
        assert getattr(settings, name) == expected
        assert settings.origins.get(name) is (naming[-1] if naming else None)
    for key in "abc":
        naming = [layer for layer in stack if key in layer.values.get("params", {})]
        assert settings.params.get(key) == (naming[-1].values["params"][key] if naming else None)
