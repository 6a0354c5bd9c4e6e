"""What is sent of a sample: templates, examples, options, pictures."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import ConfigError, PairError, SampleError
from pytest_evalrun.llm.prompts import Prompt, named_pictures
from pytest_evalrun.suite.pairs import Dataset
from pytest_evalrun.suite.settings import Settings

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")
QA = "Question: {{ question }}\nAnswer:"


class Contents:
    """Hashes of files; what is derived of one is kept as long as its content is the same."""

    def __init__(self):
        self.derived_once = {}

    def file(self, path):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def tree(self, root, names):
        return {name: self.file(Path(root, name)) for name in names}

    def derived(self, path, kind, compute):
        key = self.file(path), kind
        if key not in self.derived_once:
            self.derived_once[key] = compute()
        return self.derived_once[key]


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def sample(value, name="7"):
    return Sample(7, name, value)


@pytest.fixture
def dev(tmp_path):
    """``dev(rows)``: a file of examples, dev.jsonl."""

    def write(rows):
        (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    return write


def made(spec, value, root="/", **more):
    return Prompt(spec, root=str(root), **more).messages(sample(value))


@pytest.mark.parametrize(
    ("spec", "value", "sent"),
    [
        pytest.param({}, "two and two?", [user("two and two?")], id="a bare text as it is"),
        pytest.param({}, {"question": "why?", "level": 3}, [user("why?")], id="the only column of text"),
        pytest.param({"template": "Q: {{ input }}"}, "why?", [user("Q: why?")], id="a bare value is input"),
        pytest.param({"template": QA}, {"question": "why?"}, [user("Question: why?\nAnswer:")], id="a column by name"),
        pytest.param({"template": "{{ row['my q'] }}"}, {"my q": "why?"}, [user("why?")], id="a name that is no word"),
        pytest.param(
            {"system": "You know {{ topic }}.", "template": "{{ q }}"},
            {"topic": "cats", "q": "why?"},
            [{"role": "system", "content": "You know cats."}, user("why?")],
            id="the system message is a template too",
        ),
        pytest.param(
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    assistant("Yes?"),
                    {"role": "user", "content": "{{ q }}"},
                ]
            },
            {"q": "why?"},
            [user("Hi"), assistant("Yes?"), user("why?")],
            id="messages",
        ),
        pytest.param(
            {"template": "{{ q }}\n{{ choices }}", "choices": "choices"},
            {"q": "which?", "choices": ["red", "blue"]},
            [user("which?\nA. red\nB. blue")],
            id="options are lettered",
        ),
        pytest.param(
            {"template": "{% for c in choices %}<{{ c }}>{% endfor %}", "choices": "o"},
            {"o": '["red", "blue"]'},
            [user("<red><blue>")],
            id="options of a cell of CSV, one by one",
        ),
        pytest.param(
            {"choices": "o"},
            {"q": "which?", "o": {"text": ["red", "blue"], "label": ["A", "B"]}},
            [user("which?\nA. red\nB. blue")],
            id="options stand below an input without a template",
        ),
    ],
)
def test_messages(spec, value, sent):
    """A template is filled with a sample's columns; without one the input is sent as it is."""
    assert made(spec, value) == sent


@pytest.mark.parametrize(
    ("spec", "value", "error", "told"),
    [
        pytest.param(
            {"template": "{{ questoin }}"},
            {"question": "why?", "id": 1},
            PairError,
            "prompt.template: no column 'questoin'; columns: question, id",
            id="a column that is missing",
        ),
        pytest.param(
            {"template": "{{ q.title }}"},
            {"q": {"text": 1}},
            PairError,
            "no attribute 'title'",
            id="a part of a column that is missing",
        ),
        pytest.param(
            {},
            {"q": "why?", "context": "so"},
            PairError,
            "found no template; a sample has the columns q, ",
            id="two columns of text and no template",
        ),
        pytest.param({"choices": "o"}, {"q": "why?"}, PairError, "choices: no column 'o'; columns: q", id="no options"),
        pytest.param(
            {"choices": "o"},
            {"q": "why?", "o": 3},
            SampleError,
            "'o' holds 3; accepted: a list of texts",
            id="options that are none",
        ),
        pytest.param(
            {"choices": "o"},
            {"q": "why?", "o": ["x"] * 27},
            SampleError,
            "27 options; accepted: at most 26",
            id="more options than letters",
        ),
        pytest.param(
            {"template": "{{ 1 / n }}"},
            {"n": 0},
            SampleError,
            "prompt.template: ZeroDivisionError",
            id="an expression that fails for one sample",
        ),
        pytest.param(
            {"template": "{% for i in range(99999) %}{{ q * 999 }}{% endfor %}"},
            {"q": "why?"},
            SampleError,
            "larger than 10000000 bytes",
            id="too much text",
        ),
        pytest.param(
            {"template": "{{ q * 10**12 }}"},
            {"q": "why?"},
            SampleError,
            "more than 10000000 bytes",
            id="too much text at once",
        ),
        pytest.param(
            {"template": "{% for i in range(10**9) %}{% endfor %}"},
            {"q": 1},
            SampleError,
            "Range too big",
            id="a loop that takes long",
        ),
        pytest.param({"template": "{{ q }}"}, {"q": "\ud800"}, SampleError, "half a character", id="half a character"),
        pytest.param(
            {"template": "{{ q.__class__.__mro__ }}"}, {"q": "why?"}, PairError, "unsafe", id="the way to other objects"
        ),
        pytest.param(
            {"template": "{{ environ }}"}, {"q": "why?"}, PairError, "no column 'environ'", id="the environment"
        ),
        pytest.param({"template": "{{ q.append(1) }}"}, {"q": []}, PairError, "unsafe", id="a change of the sample"),
    ],
)
def test_what_cannot_be_sent(spec, value, error, told):
    """What the suite has wrong ends the pair and names the columns; what a sample's values lead to is its failure."""
    with pytest.raises((PairError, SampleError)) as caught:
        made(spec, value)
    assert type(caught.value) is error
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({"template": "a\n{{ question"}, "prompt.template: not a Jinja2 template", id="template"),
        pytest.param({"system": "{% if %}"}, "prompt.system: not a Jinja2 template", id="system"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "{{"}]}]},
            "prompt.messages[0].content[0].text: not a Jinja2 template",
            id="a part of a message",
        ),
        pytest.param(
            {"messages": [{"role": "user"}]},
            "accepted: a mapping with `role` and `content`",
            id="a message without content",
        ),
        pytest.param({"template": "{% include '/etc/passwd' %}"}, "a template that stands alone", id="another file"),
        pytest.param({"template": "{{ [1, 2] | random }}"}, "No filter named 'random'", id="chance"),
    ],
)
def test_no_template(spec, told):
    """A text that is no template is the user's mistake, found before there is a sample."""
    with pytest.raises(ConfigError) as caught:
        Prompt(spec, root="/")
    assert told in str(caught.value)


@pytest.mark.parametrize("seed", [pytest.param({}, id="the first"), pytest.param({"seed": 3}, id="seeded")])
def test_examples(dev, tmp_path, seed):
    """Examples are shown with the same template and their references, the same to every sample."""
    dev([{"question": f"q{n}", "answer": n} for n in range(9)])
    spec = {"system": "S", "template": QA, "fewshot": {"from": "dev.jsonl", "n": 3, **seed}}
    prompt = Prompt(spec, root=str(tmp_path), settings=Settings(reference="answer"))
    sent = prompt.messages(sample({"question": "new"}))
    assert [message["role"] for message in sent] == ["system", *["user", "assistant"] * 3, "user"]
    assert [f"Question: q{sent[n + 1]['content']}\nAnswer:" for n in (1, 3, 5)] == [
        sent[n]["content"] for n in (1, 3, 5)
    ]
    again = Prompt(spec, root=str(tmp_path), settings=Settings(reference="answer")).messages(
        sample({"question": "other"}, "x")
    )
    assert again[:-1] == sent[:-1]
    assert ([sent[n]["content"] for n in (2, 4, 6)] == ["0", "1", "2"]) is (not seed)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_examples_between_messages(dev, tmp_path, role):
    """What the system says comes once and first; all else is said for each example, too."""
    dev([{"q": "q0", "answer": "a0"}])
    asked = [user("Ready?"), assistant("Yes."), user("{{ q }}")]
    spec = {"messages": [{"role": role, "content": "S"}, *asked], "fewshot": {"from": "dev.jsonl"}}
    sent = made(spec, {"q": "new"}, tmp_path, settings=Settings(reference="answer"))
    assert sent == [
        {"role": role, "content": "S"},
        *(user("Ready?"), assistant("Yes."), user("q0"), assistant("a0")),
        *(user("Ready?"), assistant("Yes."), user("new")),
    ]


def test_a_sample_is_not_its_own_example(dev, tmp_path):
    """A sample that asks what an example asks, or has its id, gets another in its place, and the rest stays."""
    dev([{"id": f"d{n}", "question": f"q{n}", "answer": f"a{n}"} for n in range(6)])
    spec = {"template": "{{ question }}", "fewshot": {"from": "dev.jsonl", "n": 3}}
    prompt = Prompt(spec, root=str(tmp_path), settings=Settings(reference="answer", id_column="id"))
    assert [m["content"] for m in prompt.messages(sample({"question": "q1"}, "x"))][1::2] == ["a0", "a3", "a2"]
    assert [m["content"] for m in prompt.messages(sample({"question": "?"}, "d0"))][1::2] == ["a3", "a1", "a2"]
    assert [m["content"] for m in prompt.messages(sample({"question": "q1"}, "d0"))][1::2] == ["a3", "a4", "a2"]


def test_examples_of_one_text(dev, tmp_path):
    """To a model that goes on with a text each example is its question and its answer, and an empty line between."""
    dev([{"question": "q0", "answer": "a0"}, {"question": "q1", "answer": "a1"}])
    spec = {"system": "Answer.", "template": QA, "fewshot": {"from": "dev.jsonl"}}
    text = Prompt(spec, root=str(tmp_path), settings=Settings(reference="answer")).text(sample({"question": "new"}))
    assert text == ("Answer.\n\nQuestion: q0\nAnswer: a0\n\nQuestion: q1\nAnswer: a1\n\nQuestion: new\nAnswer:")


def test_examples_of_csv_with_answers_of_their_own(tmp_path):
    """What is shown as an answer may be a template over all columns, those that the model never sees too."""
    (tmp_path / "dev.csv").write_text("question,steps,answer\nq0,so and so,4\n")
    spec = {"template": "{{ question }}", "fewshot": {"from": "dev.csv", "answer": "{{ steps }} #### {{ answer }}"}}
    settings = Settings(reference="answer", inputs=("question",))
    sent = Prompt(spec, root=str(tmp_path), settings=settings).messages(sample("new"))
    assert sent == [user("q0"), assistant("so and so #### 4"), user("new")]


@pytest.mark.parametrize(
    ("rows", "fewshot", "told"),
    [
        pytest.param([], {}, "has no example", id="an empty file"),
        pytest.param(
            [{"q": "a", "answer": 1}] * 4,
            {"n": 2},
            "fewshot.n is 2, but it has 1 examples that differ",
            id="fewer than are wanted",
        ),
        pytest.param([{"q": "a", "answer": {"x": 1}}], {}, "which is no answer", id="references that are no text"),
        pytest.param([{"other": "a", "answer": 1}], {}, "no column 'q'; columns: other", id="other columns"),
        pytest.param(None, {}, "cannot be read", id="no file"),
    ],
)
def test_examples_that_cannot_be_shown(dev, tmp_path, rows, fewshot, told):
    """Examples that cannot be shown end the pair, and the file is named or its columns are."""
    if rows is not None:
        dev(rows)
    spec = {"template": "{{ q }}", "fewshot": {"from": "dev.jsonl", **fewshot}}
    with pytest.raises(PairError) as caught:
        Prompt(spec, root=str(tmp_path), settings=Settings(reference="answer")).messages(sample({"q": "new"}))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["images/a.png", {"path": "images/a.png"}, PIXEL, {"bytes": PIXEL, "path": None}],
    ids=["path", "path of a mapping", "bytes", "bytes of a mapping"],
)
def test_pictures(tmp_path, value):
    """A column of pictures becomes data URLs, with the kind that their content has."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(PIXEL)
    spec = {"messages": [{"role": "user", "content": [{"type": "text", "text": "{{ q }}"}, {"image": "picture"}]}]}
    sent = made(spec, {"q": "what?", "picture": value}, tmp_path)
    url = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    assert sent == [user([{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}])]


def test_files_as_inputs(tmp_path):
    """A file that is an input is sent as a picture, or as the text that it holds."""
    (tmp_path / "a.png").write_bytes(PIXEL)
    (tmp_path / "a.txt").write_text("why?")
    (part,) = made({}, tmp_path / "a.png")[0]["content"]
    assert part["image_url"]["url"].startswith("data:image/png;base64,")
    assert made({}, tmp_path / "a.txt") == [user("why?")]
    assert made({"template": "{{ txt }}"}, {".txt": tmp_path / "a.txt"}) == [user("why?")]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param("../secret.png", "leads out of", id="a way out of the suite"),
        pytest.param("/etc/passwd", "leads out of", id="an absolute path"),
        pytest.param("notes.png", "is no picture", id="a text by the name of a picture"),
        pytest.param("gone.png", "No such file", id="no file"),
        pytest.param(3, "accepted: the path of a picture", id="a number"),
        pytest.param("a\0b", "is no path", id="NUL"),
    ],
)
def test_pictures_that_are_not_sent(tmp_path, value, told):
    """Only pictures below the dataset's directory or the suite's leave this machine, whatever a row says."""
    (tmp_path / "suite").mkdir()
    (tmp_path / "secret.png").write_bytes(PIXEL)
    (tmp_path / "suite" / "notes.png").write_text("not a picture")
    spec = {"messages": [{"role": "user", "content": [{"image": "picture"}]}]}
    with pytest.raises(SampleError) as caught:
        made(spec, {"picture": value}, tmp_path / "suite")
    assert told in str(caught.value)


def test_text_takes_no_picture(tmp_path):
    """A model that goes on with a text is sent no picture."""
    (tmp_path / "a.png").write_bytes(PIXEL)
    with pytest.raises(PairError, match="takes text alone"):
        Prompt({}, root="/").text(sample(tmp_path / "a.png"))


def test_identity(dev, tmp_path):
    """What an answer depends on are the words of the prompt and the content of the file of examples."""
    dev([{"q": "a", "answer": 1}])
    spec = {"template": "{{ q }}", "fewshot": {"from": "dev.jsonl"}}

    def identity():
        return Prompt(spec, root=str(tmp_path), settings=Settings(reference="answer")).identity(Contents())

    before = identity()
    assert before["template"] == "{{ q }}"
    assert before == identity()
    dev([{"q": "b", "answer": 1}])
    assert before != identity()
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(PairError, match=r"dev\.jsonl"):
        identity()


def test_pictures_count_by_content(tmp_path):
    """Those that rows name, where messages show them; a URL is none of ours, and what is missing is its sample's."""
    rows = [{"p": "a.png", "q": "other.png"}, {"p": "https://example.org/b.png"}, {"p": "gone.png"}, {"p": "a\0b"}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("a.png", "other.png"):
        (tmp_path / name).write_bytes(PIXEL)
    settings, dataset, hashes = Settings(format="jsonl"), Dataset("d", str(tmp_path / "d.jsonl")), Contents()
    shown = {"messages": [{"role": "user", "content": [{"type": "text", "text": "{{ q }}"}, {"image": "p"}]}]}

    def found(spec):
        return named_pictures(spec, settings, str(tmp_path), dataset, hashes)

    assert found({"messages": [{"role": "user", "content": "{{ p }}"}]}) == {}
    before = found(shown)
    assert list(before["pictures"]) == ["a.png"]
    (tmp_path / "a.png").write_bytes(PIXEL + b"#")
    (tmp_path / "other.png").unlink()
    assert list(found(shown)["pictures"]) == ["a.png"]
    assert found(shown) != before
    assert len(hashes.derived_once) == 1
