"""``evalrun export`` over real runs: of an endpoint with a judge and several answers, of an agent, of plain models."""

from __future__ import annotations

import json
import zipfile

import pytest
from agentsuite import Agents
from llmserver import llm_server

SAMPLES = 6
SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def server():
    with llm_server("--canned", "GRADE: 1") as running:
        yield running


@pytest.fixture
def asked(project, server):
    """A suite of prompts, two answers each, which a judge grades; one row holds what the suite calls a secret."""

    def write(template="Say: {{ x }}"):
        judge = {"name": "good", "model": {"model": "ngram", "base_url": server.url}, "template": "{{ prediction }}?"}
        model = {"name": "small", "model": "ngram", "base_url": server.url, "api_key": "${EXPORT_KEY}"}
        words = {"adapter": "openai", "models": [model], "prompt": {"system": "Be brief.", "template": template}}
        words |= {"generations": 2, "sampling": {"temperature": 0.5}, "metrics": ["includes", {"judge": judge}]}
        project.make(models=(), datasets=("one",))
        project.yaml((), ("one",), **words)
        rows = [{"x": f"word {i}" if i else f"the word {SECRET}", "y": "GRADE"} for i in range(SAMPLES)]
        (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return project

    return write


def read(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def exported(project, *words):
    """What the command writes and says."""
    code, output, errors = project.evalrun("export", *words)
    assert code == 0, errors
    return output.splitlines(), errors.splitlines()


def test_an_endpoint_with_its_judge(asked, monkeypatch):
    """Prompts as they were sent, answers, tokens, the judge's words; what a secret is, is seen nowhere."""
    monkeypatch.setenv("EXPORT_KEY", SECRET)
    project = asked()
    ran = project.run(EXPORT_KEY=SECRET)
    assert ran.code == 0, ran
    written, said = exported(project, "inspect", "out")
    assert (written, said) == (["out/echo/small/one.eval"], [])
    archive = read(project.root / "out/echo/small/one.eval")
    assert SECRET not in json.dumps(archive)
    head, sample = archive["header.json"], archive["samples/1_epoch_2.json"]
    assert (head["status"], head["eval"]["config"]["epochs"]) == ("success", 2)
    assert head["results"]["total_samples"] == 2 * SAMPLES == len(archive["summaries.json"])
    asked_for = [(message["role"], message["content"]) for message in sample["input"]]
    assert asked_for == [("system", "Be brief."), ("user", "Say: word 1")]
    assert sample["output"]["completion"] == "GRADE: 1"
    assert sample["model_usage"]["small"]["output_tokens"] > 0
    assert sample["scores"]["includes"]["value"] == "C"
    assert sample["scores"]["good"] == {"value": 1.0, "answer": None, "explanation": "GRADE: 1"}
    assert archive["samples/0_epoch_1.json"]["input"][1]["content"] == "Say: the word ***"

    asked("Tell me: {{ x }}")
    _, said = exported(project, "inspect", "out")
    assert said == [
        (
            f"out/echo/small/one.eval: the prompts of {2 * SAMPLES} answers are left out: "
            "the suite would send something else today"
        )
    ]
    sample = read(project.root / "out/echo/small/one.eval")["samples/1_epoch_1.json"]
    assert sample["input"] == "word 1"


def test_an_agent(tmp_path):
    """What was said, by whom, and how it ended."""
    suite = Agents(tmp_path / "project").write({"good": {}}, {"count": {"turns": 2}})
    assert suite.run("evals", "-n", "0").code == 0
    code, output, errors = suite.evalrun("export", "inspect", "out")
    assert (code, errors) == (0, "")
    (sample, *_) = (one for name, one in read(suite.root / output.strip()).items() if name.startswith("samples/"))
    roles = [message["role"] for message in sample["messages"]]
    assert roles[0] == "user" and roles.count("assistant") == 2
    assert (sample["metadata"]["status"], sample["scores"]["success"]["value"]) == ("completed", "C")
    code, _, _ = suite.evalrun("export", "opencompass", "work")
    assert code == 0
    first = json.loads(next((suite.root / "work/predictions").rglob("*.json")).read_text())["0"]
    assert [one["role"] for one in first["origin_prompt"]][:2] == ["HUMAN", "BOT"]


def test_all_formats_of_a_run(project):
    """Each command names what it has written; what is not whole is said; a second run of it changes nothing."""
    project.make(models=("a", "b"), datasets=("one", "two"))
    assert project.run("evals", "-k", "not (b and two)").code == 0
    left = "1 pair without a result left out: echo/b/two"
    for _ in range(2):
        written, said = exported(project, "inspect", "logs")
        assert written == [f"logs/echo/{name}.eval" for name in ("a/one", "a/two", "b/one")]
        assert said == [left]
        written, said = exported(project, "opencompass", "work", "-k", "one")
        assert [name for name in written if "summary" not in name] == [
            f"work/predictions/{model}/one.json" for model in "ab"
        ]
        written, said = exported(project, "benchmark", "bench.json", project.latest.name)
        assert (written, said) == (["bench.json"], [left])
    csv = next((project.root / "work/summary").glob("*.csv")).read_text().splitlines()
    assert csv[0] == "dataset,version,metric,mode,a,b" and csv[1].endswith(",exact_match,gen,100.00,100.00")
    stats = json.loads((project.root / "bench.json").read_text())["benchmarks"][0]["stats"]
    assert stats["rounds"] == 8
    assert not list(project.root.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(("inspect", "logs", "-k", "nothing"), "no results that match -k nothing to export", id="none"),
        pytest.param(("opencompass", "logs", "yesterday"), "run yesterday: not found", id="no such run"),
        pytest.param(("benchmark", "pytest.ini"), "pytest.ini: it exists and was not written by evalrun", id="others'"),
        pytest.param(("inspect", "pytest.ini"), "pytest.ini: it is a file", id="no directory"),
    ],
)
def test_a_mistake_is_one_line(evaluated, words, text):
    """And nothing is written."""
    before = (evaluated.root / "pytest.ini").read_text()
    code, output, errors = evaluated.evalrun("export", *words)
    assert (code, output) == (2, "")
    assert text in errors.splitlines()[-1]
    assert (evaluated.root / "pytest.ini").read_text() == before
    assert not (evaluated.root / "logs").exists()


def test_the_help_names_the_formats(evaluated):
    """Without a word the command says what there is."""
    _, output, errors = evaluated.evalrun("export", "--help")
    assert all(word in output + errors for word in ("inspect", "opencompass", "benchmark"))
