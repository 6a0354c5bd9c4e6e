"""`evalrun show PAIR --prompt ID`: what is sent of a sample, without sending it."""

from __future__ import annotations

import base64
import json

import pytest

from pytest_evalrun.cli.sent import sent_lines
from pytest_evalrun.errors import ConfigError, PairError

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")
SUITE = {
    "name": "s",
    "adapter": "openai",
    "base_url": "http://127.0.0.1:1/v1",
    "models": [{"name": "qwen"}, {"name": "own", "adapter": "./my.py:Model"}],
    "datasets": [{"name": "d", "path": "d.jsonl"}],
    "format": "jsonl",
    "id_column": "id",
    "reference": "answer",
    "sampling": {"temperature": 0, "stop": ["\n"]},
    "prompt": {
        "system": "You know {{ topic }}.",
        "template": "Q: {{ question }}\nA:",
        "fewshot": {"from": "dev.jsonl", "n": 1},
    },
}
ROW = {"id": "q1", "topic": "cats", "question": "why\x1b[1m?", "answer": "so", "picture": "a.png"}


@pytest.fixture
def sent(tmp_path):
    """``sent(pair, id, **words)``: the lines of a suite with other words."""
    (tmp_path / "my.py").write_text("class Model: ...\n")
    (tmp_path / "a.png").write_bytes(PIXEL)
    (tmp_path / "d.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "dev.jsonl").write_text(json.dumps(ROW | {"id": "d1", "question": "how?", "answer": 4}) + "\n")

    def lines(pair="qwen/d", sample="q1", **words):
        (tmp_path / "evalrun.yaml").write_text(json.dumps(SUITE | words))
        return list(sent_lines(pair, sample, [tmp_path], tmp_path / "outputs"))

    return lines


def test_messages_stand_below_the_fields_of_the_request(sent):
    """Each with its role, examples before the question."""
    assert sent() == [
        *("to: http://127.0.0.1:1/v1 (chat)", "model: qwen", "temperature: 0", 'stop: ["\\n"]'),
        *("", "[system]", "You know cats."),
        *("", "[user]", "Q: how?", "A:"),
        *("", "[assistant]", "4"),
        *("", "[user]", "Q: why\x1b[1m?", "A:"),
    ]


def test_one_text(sent):
    """What a model goes on with, as it is."""
    lines = sent(api="completions")
    assert lines[lines.index("[prompt]") :] == [
        *("[prompt]", "You know cats.", "", "Q: how?", "A: 4", "", "Q: why\x1b[1m?", "A:"),
    ]


def test_a_task_for_a_prompt(sent):
    """The model is called as it is without the prompt, and pictures are told by kind and size."""
    content = [{"type": "text", "text": "What?"}, {"image": "picture"}]
    lines = sent("qwen@see/d", prompts={"see": {"messages": [{"role": "user", "content": content}]}})
    assert "model: qwen" in lines
    assert lines[-2:] == ["What?", f"<image/png, {len(PIXEL)} bytes>"]


def test_secrets_are_blanked(sent, monkeypatch):
    """Whatever a row or a template says."""
    monkeypatch.setenv("KEY", "why-nobody-knows")
    lines = sent(api_key="${KEY}", prompt={"template": "{{ question }} why-nobody-knows"})
    assert lines[-1] == "why\x1b[1m? ***"


AGENT = {
    "pair": "qwen/os",
    "datasets": [{"name": "os", "format": "agentbench"}],
    "controller": "http://127.0.0.1:1/api",
    "prompt": {"system": "Be short."},
}
MISTAKES = {
    "an agent": (AGENT, ConfigError, "s/qwen/os: its task says turn by turn what an agent is sent"),
    "a sample": ({"sample": "q2"}, ConfigError, "s/qwen/d: no sample 'q2' among 1 sample; there are q1, …"),
    "a pair": ({"pair": "qwen/e"}, ConfigError, "pair qwen/e: not found"),
    "a model that is sent none": ({"pair": "own/d"}, ConfigError, "is sent no prompt; accepted: openai"),
    "a column": ({"prompt": {"template": "{{ qestion }}"}}, PairError, "no column 'qestion'; columns: topic, question"),
}


@pytest.mark.parametrize(("words", "error", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(sent, words, error, told):
    """What is not there is named, with what there is."""
    with pytest.raises(error) as caught:
        sent(**words)
    assert told in str(caught.value)
