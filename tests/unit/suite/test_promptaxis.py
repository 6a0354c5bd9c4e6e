"""`prompts:` as a third axis of a suite."""

from __future__ import annotations

import pytest

from pytest_evalrun.suite.published import dump, load

MATRIX = """\
adapter: openai
base_url: http://127.0.0.1:1/v1
models: [{name: qwen}, {name: own, adapter: ./my.py:Model}]
datasets: [{path: clean.csv}, {path: noisy.csv}]
prompt: {system: S, template: T}
"""
TWO = """\
prompts:
  plain:
  short:
    template: "{{ q }}"
"""


def prompts(suite):
    """Ids → the prompt of each pair that has one."""
    return {pair.id: pair.settings.words.get("prompt") for pair in suite.discover().pairs if pair.task.prompt}


def test_a_model_becomes_a_task_for_each_prompt(suite):
    """Where its kind is sent prompts; its name, and what it is, stay the model's."""
    suite(MATRIX + TWO)
    assert suite.ids() == [
        *("qwen@plain/clean", "qwen@plain/noisy", "qwen@short/clean", "qwen@short/noisy"),
        *("own/clean", "own/noisy"),
    ]
    pair = suite.pair("qwen@short/noisy")
    assert (pair.task.model, pair.task.prompt, suite.pair("own/clean").task.model) == ("qwen", "short", "own")


def test_a_prompt_is_laid_over_the_one_that_its_pair_has(suite):
    """Word by word: that of the suite, of the model, of the dataset."""
    suite(
        MATRIX.replace("{path: noisy.csv}", "{path: noisy.csv, prompt: {system: D, choices: o}}").replace(
            "{name: qwen}", "{name: qwen, prompt: {system: M}}"
        )
        + TWO
    )
    assert prompts(suite) == {
        "qwen@plain/clean": {"system": "M"},
        "qwen@short/clean": {"system": "M", "template": "{{ q }}"},
        "qwen@plain/noisy": {"system": "D", "choices": "o"},
        "qwen@short/noisy": {"system": "D", "choices": "o", "template": "{{ q }}"},
    }


def test_messages_take_the_place_of_system_and_template(suite):
    """And the other way round: together they would be a mistake that nobody made."""
    suite(MATRIX + "prompts:\n  few: {messages: [{role: user, content: Hi}]}\n")
    assert prompts(suite)["qwen@few/clean"] == {"messages": [{"role": "user", "content": "Hi"}]}


def test_overrides_know_tasks_by_model_and_prompt(suite):
    """And what they say of the prompt lies above it."""
    suite(
        MATRIX
        + TWO
        + "overrides:\n  - {match: 'qwen@short/*', limit: 3}\n  - {match: '*/noisy', prompt: {template: X}}\n"
    )
    assert [suite.settings(f"qwen@{name}/clean").limit for name in ("plain", "short")] == [None, 3]
    assert prompts(suite)["qwen@short/noisy"] == {"template": "X"}


def test_models_on_disk_have_the_axis_too(suite):
    """In the tree layout tasks are directories, and each is one for each prompt."""
    suite(
        "adapter: openai\nbase_url: http://127.0.0.1:1/v1\ndiscover: {model_file_ext: .bin, in_subdir: in}\n"
        "prompts: {a: {template: A}, b: {template: B}}\n",
        **{"group/m/m.bin": "", "group/m/d/in/x.txt": ""},
    )
    assert prompts(suite) == {"group/m@a/d": {"template": "A"}, "group/m@b/d": {"template": "B"}}


def test_what_is_published_is_what_was_found(suite):
    """Another process of the launch knows the same tasks by model and prompt."""
    found = suite(MATRIX + TWO).discover()
    assert load(dump([found])) == [found]


MISTAKES = {
    "unknown word": ("prompts: {a: {tempalte: X}}\n", ":6: prompts.a.tempalte: unknown key; did you mean 'template'?"),
    "no mapping": ("prompts:\n  a: text\n", ":7: prompts.a: found 'text'; accepted: a mapping"),
    "no template": ("prompts:\n  a:\n    template: '{{'\n", ":8: prompt.template: not a Jinja2 template: "),
    "slash": ("prompts: {a/b: {}}\n", ":6: prompts: prompt name 'a/b' is refused: it has a slash"),
    "line end": ('prompts: {"a\\nb": {}}\n', "is refused: it has a line end, NUL or other character"),
    "two of one name": (
        "prompts: {few: {}, Few: {}}\n",
        "tasks 'qwen@few' and 'qwen@Few' would have the same files",
    ),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(suite, text, told):
    """Each is told with its line, as of a prompt that stands alone."""
    assert any(told in line for line in suite(MATRIX + text).problems())


def test_a_suite_whose_models_are_sent_no_prompts(suite):
    """Prompts without effect are a mistake."""
    text = "adapter: ./my.py:Model\nmodels: [{name: m}]\ndatasets: [{path: clean.csv}]\nprompts: {a: {}}\n"
    assert ":4: prompts: found prompts, and no model that is sent any" in suite(text).problem()
