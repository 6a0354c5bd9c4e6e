"""What stands in a ``.eval`` file; that Inspect can read it is tested with Inspect, in ``inspect/``."""

from __future__ import annotations

import json
import math
from itertools import count

import pytest

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.report.export.chosen import SentSample, Sources, choose
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.suite.secrets import Secrets

FILE = "s/t/d.eval"


def line(run, index, prediction="p", reference="r", **more):
    return run.line((index, prediction, reference)) | more


def sample(archive, name, epoch=1):
    return archive[f"samples/{name}_epoch_{epoch}.json"]


def of_inputs(*values, names=()):
    return Sources(Inputs(names, lambda: ((f"s{i}", value) for i, value in enumerate(values))))


def test_a_pair_with_its_samples(run, inspected):
    """Header, samples and their list: who was asked what, what came, what it should have been, how it was scored."""
    run.result("s", "t", "d", metrics={"top1": 0.5, "f1": 0.7}, total=2)
    run.predictions("s", "t", "d", [line(run, 0, "yes", "yes"), line(run, 1, [1, 2], "no")])
    run.scores("s", "t", "d", [{"index": 0, "top1": 1.0, "f1": 0.9}, {"index": 1, "top1": 0.0, "f1": 0.5}])
    archive = inspected(of_inputs("is it?", "or not?"))[FILE]
    head = archive["header.json"]
    assert (head["version"], head["status"]) == (2, "success")
    spec = head["eval"]
    assert (spec["task"], spec["model"], spec["dataset"]["name"]) == ("s/d", "t", "d")
    assert (spec["dataset"]["samples"], spec["dataset"]["sample_ids"]) == (2, ["s0", "s1"])
    (top1, f1) = head["results"]["scores"]
    assert top1["metrics"]["value"] == {"name": "value", "value": 0.5}
    assert (top1["metrics"]["low"]["value"], f1["scored_samples"]) == (pytest.approx(0.45), 2)
    right, wrong = sample(archive, "s0"), sample(archive, "s1")
    assert (right["input"], right["target"], right["output"]["completion"]) == ("is it?", "yes", "yes")
    assert [(one["role"], one["content"]) for one in right["messages"]] == [("user", "is it?"), ("assistant", "yes")]
    assert (right["scores"]["top1"]["value"], wrong["scores"]["top1"]["value"]) == ("C", "I")
    assert (right["scores"]["f1"]["value"], wrong["output"]["completion"]) == (0.9, "[1, 2]")
    assert [(one["id"], one["input"]) for one in archive["summaries.json"]] == [("s0", "is it?"), ("s1", "or not?")]


def test_a_failed_sample_is_an_error(run, inspected):
    """It has no answer and no score, and its reason is where Inspect looks for one."""
    run.result("s", "t", "d", metrics={"top1": 1.0}, total=2, failed=1)
    run.predictions("s", "t", "d", [line(run, 0), line(run, 1, None, status="failed", error="OSError: gone")])
    run.scores("s", "t", "d", [{"index": 0, "top1": 1.0}])
    archive = inspected(of_inputs("a", "b"))[FILE]
    failed = sample(archive, "s1")
    assert (failed["error"]["message"], failed["scores"], failed["output"]["choices"]) == ("OSError: gone", {}, [])
    assert [one["role"] for one in failed["messages"]] == ["user"]
    assert [one["error"] for one in archive["summaries.json"]] == [None, "OSError: gone"]
    assert archive["header.json"]["results"]["completed_samples"] == 1


def test_generations_are_epochs(run, inspected):
    """Each answer is a sample of its own; its sample is named once."""
    fingerprint = {"prediction": {"generations": 2}}
    run.result("s", "t", "d", metrics={"top1": 0.5}, total=2, fingerprint=fingerprint)
    run.predictions("s", "t", "d", [line(run, 0, f"g{g}", generation=g) for g in (0, 1)])
    run.scores("s", "t", "d", [{"index": 0, "generation": g, "top1": float(g)} for g in (0, 1)])
    archive = inspected()[FILE]
    assert [sample(archive, "s0", epoch)["output"]["completion"] for epoch in (1, 2)] == ["g0", "g1"]
    head = archive["header.json"]
    assert (head["eval"]["config"]["epochs"], head["eval"]["dataset"]["sample_ids"]) == (2, ["s0"])
    assert head["results"]["total_samples"] == 2


def test_judges_are_quoted(run, inspected):
    """Their words explain the score; a verdict that could not be read leaves it unscored, and its words."""
    specs = {"good": {"use": "judge", "params": {}}, "top1": {"use": "top1", "params": {}}}
    run.result("s", "t", "d", metrics={"good": 1.0, "top1": 1.0}, total=2, fingerprint={"score": {"metrics": specs}})
    run.predictions("s", "t", "d", [line(run, 0), line(run, 1)])
    run.scores("s", "t", "d", [{"index": i, "good": good, "top1": 1.0} for i, good in enumerate([0.7, None])])
    verdicts = [line(run, 0, "Fine.\nGRADE: 0.7"), line(run, 1, "I cannot say.")]
    path = run.paths.pair(run.key("s", "t", "d")).judged_verdicts
    run.write(path, "".join(json.dumps(one) + "\n" for one in verdicts))
    archive = inspected()[FILE]
    first, second = sample(archive, "s0")["scores"], sample(archive, "s1")["scores"]
    assert (first["good"]["value"], first["good"]["explanation"]) == (0.7, "Fine.\nGRADE: 0.7")
    assert math.isnan(second["good"]["value"]) and second["good"]["explanation"] == "I cannot say."
    assert "explanation" not in first["top1"]
    scores = {one["name"]: one for one in archive["header.json"]["results"]["scores"]}
    assert (scores["good"]["scored_samples"], scores["good"]["unscored_samples"]) == (1, 1)


def test_the_answer_and_why_there_is_none(run, inspected):
    """What was taken out of the text stands beside the score."""
    run.result("s", "t", "d", metrics={"choice": 0.5}, total=2)
    run.predictions("s", "t", "d", [line(run, 0, "So: B"), line(run, 1, "Hm")])
    told = [{"index": 0, "choice": 1.0, "answer": "B"}, {"index": 1, "choice": 0.0, "no_answer": "no letter"}]
    run.scores("s", "t", "d", told)
    archive = inspected()[FILE]
    assert sample(archive, "s0")["scores"]["choice"] == {"value": "C", "answer": "B"}
    assert sample(archive, "s1")["scores"]["choice"]["explanation"] == "no letter"


def test_a_conversation_is_its_messages(run, inspected):
    """Of an agent: tools called, what came of it, its last words as the output."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 3}'}}
    torn = {"function": {"name": "look", "arguments": "{"}}
    history = [
        {"role": "user", "content": "Find it."},
        {"role": "agent", "content": None, "tool_calls": [call, torn]},
        {"role": "tool", "content": "a door", "tool_call_id": "c1"},
        {"role": "agent", "content": "Found: a door"},
    ]
    prediction = {"status": "completed", "result": {"success": True}, "reward": 1.0}
    usage = {"input": 30, "output": 5, "cached": 10}
    detail = {"history": history, "turns": 2, "usage": usage, "finish_reason": "stop"}
    run.result("s", "t", "d", metrics={"success": 1.0}, total=1)
    run.predictions("s", "t", "d", [line(run, 0, prediction, None, detail=detail)])
    found = sample(inspected()[FILE], "s0")
    assert [one["role"] for one in found["messages"]] == ["user", "assistant", "tool", "assistant"]
    asked, bad = found["messages"][1]["tool_calls"]
    assert (asked["function"], asked["arguments"], bad["arguments"]) == ("look", {"at": 3}, {"arguments": "{"})
    assert "parse_error" in bad and found["messages"][2]["tool_call_id"] == "c1"
    assert (found["output"]["completion"], found["metadata"]["status"]) == ("Found: a door", "completed")
    assert [one["content"] for one in found["input"]] == ["Find it."]
    read = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 35, "input_tokens_cache_read": 10}
    assert found["model_usage"] == {"t": read} and found["output"]["usage"] == read


def prompts(*texts, digest=None):
    said = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}] for text in texts]
    return lambda: (SentSample(f"s{i}", one, digest) for i, one in enumerate(said))


def test_prompts_are_the_input(run, inspected):
    """What the model was sent, message by message; what it thought is apart from what it said."""
    run.result("s", "t", "d", total=1)
    detail = {"digest": "d0", "reasoning": "2 + 2", "finish_reason": "length", "request_id": "r-1", "model": "m-2"}
    run.predictions("s", "t", "d", [line(run, 0, "4", detail=detail)])
    found = sample(inspected(Sources(sent=prompts("2+2?", digest=lambda generation: f"d{generation}")))[FILE], "s0")
    assert [(one["role"], one["content"]) for one in found["input"]] == [("system", "Be brief."), ("user", "2+2?")]
    (choice,) = found["output"]["choices"]
    assert [part["type"] for part in choice["message"]["content"]] == ["reasoning", "text"]
    assert (choice["stop_reason"], found["output"]["completion"], found["output"]["model"]) == (
        "max_tokens",
        "4",
        "m-2",
    )


def test_a_prompt_that_was_not_sent_is_left_out(run, inspected):
    """The suite says something else today: that is said, and the log does not claim it."""
    run.result("s", "t", "d", total=1)
    run.predictions("s", "t", "d", [line(run, 0, "4", detail={"digest": "of then"})])
    archive = inspected(Sources(sent=prompts("3+3?", digest=lambda _: "of now")))[FILE]
    assert "3+3" not in json.dumps(archive)
    assert inspected.remarks == ["the prompts of 1 answer are left out: the suite would send something else today"]


def test_another_sample_in_its_place_is_not_taken_for_it(run, inspected):
    """Inputs and prompts belong to a sample by its id."""
    run.result("s", "t", "d", total=2)
    run.predictions("s", "t", "d", [line(run, 0) | {"id": "gone"}, line(run, 1)])
    archive = inspected(Sources(of_inputs("a", "b").inputs, prompts("first", "second")))[FILE]
    assert "first" not in json.dumps(sample(archive, "gone"))
    assert "second" in json.dumps(sample(archive, "s1"))


def test_data_that_are_gone_cost_only_themselves(run, inspected):
    """The answers are exported all the same, and why inputs are missing is said once."""
    run.result("s", "t", "d", total=2)
    run.predictions("s", "t", "d", [line(run, 0), line(run, 1)])

    def broken():
        yield SentSample("s0", "asked")
        raise PairError("d.jsonl: it is gone")

    archive = inspected(Sources(sent=broken))[FILE]
    assert (sample(archive, "s0")["input"], sample(archive, "s1")["input"]) == ("asked", "")
    assert inspected.remarks == ["not all inputs are there: d.jsonl: it is gone"]


def test_a_suite_that_is_gone_is_told_of(run, inspected):
    """Answers without what was asked are no whole log."""
    run.result("s", "t", "d", total=1)
    run.predictions("s", "t", "d", [line(run, 0)])
    assert sample(inspected(Sources(problem="no suite has it"))[FILE], "s0")["input"] == ""
    assert inspected.remarks == ["not all inputs are there: no suite has it"]


def test_secrets_of_the_suite_are_blanked(run, inspected):
    """In prompts as in inputs: they come from files that nobody has looked through."""
    run.result("s", "t", "d", total=2)
    run.predictions("s", "t", "d", [line(run, 0, "***", blanked=True), line(run, 1)])
    secrets = Secrets(("correct-horse-battery",))
    inputs = of_inputs("-", "the word is correct-horse-battery").inputs

    def said():
        yield SentSample("s0", [{"role": "user", "content": "say correct-horse-battery"}])
        yield SentSample("s1", None)

    archive = inspected(Sources(inputs, said, secrets=secrets))[FILE]
    assert "horse" not in json.dumps(archive)
    blanked, other = sample(archive, "s0"), sample(archive, "s1")
    assert (blanked["input"][0]["content"], other["input"]) == ("say ***", "the word is ***")
    assert [one["metadata"].get("blanked") for one in (blanked, other)] == [True, None]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/abs", "a/../b", "a\\b", "nul\0", "x" * 300, "half \ud800", "C:x", "~/x", "a/./b"]
)
def test_an_id_leads_nowhere(run, inspected, name):
    """Whoever unpacks the archive stays where he is; the id itself is kept."""
    run.result("s", "t", "d", total=1)
    run.predictions("s", "t", "d", [line(run, 0) | {"id": name.replace("\ud800", "")}])
    if "\ud800" in name:
        path = run.paths.pair(run.key("s", "t", "d")).predictions
        path.write_text(json.dumps(line(run, 0) | {"id": name}) + "\n")
    archive = inspected()[FILE]
    (member,) = (entry for entry in archive if entry.startswith("samples/"))
    assert ".." not in member and "\\" not in member and member.count("/") == 1
    assert archive[member]["metadata"]["id"] == name.replace("\ud800", "\\ud800")


def test_numbers_as_ids_stay_in_order(run, inspected):
    """Inspect sorts texts by their letters, where 10 comes before 9."""
    run.result("s", "t", "d", total=11)
    run.predictions("s", "t", "d", [line(run, i) | {"id": str(i)} for i in range(11)])
    archive = inspected()[FILE]
    assert archive["header.json"]["eval"]["dataset"]["sample_ids"] == list(range(11))
    assert sample(archive, 10)["id"] == 10


def test_what_did_not_end_well_says_so(run, inspected):
    """An ERROR is one, a pair that was interrupted is cancelled, with what it has; one without anything is left out."""
    run.result("s", "broken", "d", status="error", environment={"error": "no such model"}, total=0)
    run.predictions("s", "half", "d", [line(run, 0)])
    run.write(run.paths.pair(run.key("s", "half", "d")).fingerprint, "{}")
    run.write(run.paths.pair(run.key("s", "none", "d")).fingerprint, "{}")
    run.result("s", "off", "d", status="skipped")
    archives = inspected()
    heads = {name: archive["header.json"] for name, archive in archives.items()}
    assert sorted(heads) == ["s/broken/d.eval", "s/half/d.eval"]
    assert (heads["s/broken/d.eval"]["status"], heads["s/broken/d.eval"]["error"]["message"]) == (
        "error",
        "no such model",
    )
    assert (heads["s/half/d.eval"]["status"], len(archives["s/half/d.eval"]["summaries.json"])) == ("cancelled", 1)
    assert choose(run.paths).remarks == (
        "1 pair without a result left out: s/none/d",
        "1 pair that is skipped left out: s/off/d",
    )


def test_quick_looks_are_asked_for(run, inspected):
    """An evaluation of first samples is never taken for a whole one."""
    run.result("s", "t", "d", total=1)
    limited = run.paths.pair(run.key("s", "t", "d").limited(1))
    run.write(limited.result, run.paths.pair(run.key("s", "t", "d")).result.read_text())
    assert list(inspected()) == [FILE]
    assert "1 pair of first samples alone left out: s/t/d.limit-1; --limits takes them too" in choose(run.paths).remarks
    archives = inspected(limits=True)
    assert archives["s/t/d.limit-1.eval"]["header.json"]["eval"]["config"]["limit"] == 1


def test_the_same_run_gives_the_same_bytes(run, inspected, tmp_path):
    """Whoever compares two exports sees what differs in the runs."""
    run.result("s", "t", "d", metrics={"top1": 1.0}, total=1)
    run.predictions("s", "t", "d", [line(run, 0)])
    inspected(directory="one")
    inspected(directory="two")
    assert (tmp_path / "one" / FILE).read_bytes() == (tmp_path / "two" / FILE).read_bytes()


def test_files_of_the_model_are_named_or_shown(run, inspected):
    """A picture is shown where the suite can say where it is."""
    run.result("s", "t", "d", total=2)
    named = [{"file": f"{i}.png", "size": 3, "sha256": "0"} for i in range(2)]
    run.predictions("s", "t", "d", [line(run, i, one) for i, one in enumerate(named)])
    url = "data:image/png;base64,AA=="
    archive = inspected(Sources(embed=lambda name: url if name == "0.png" else None))[FILE]
    shown, named = (sample(archive, name) for name in ("s0", "s1"))
    assert shown["messages"][1]["content"][1] == {"type": "image", "image": url}
    assert (shown["output"]["completion"], named["messages"][1]["content"]) == ("0.png\n<image>", "1.png")


def test_the_list_of_samples_is_short(run, inspected):
    """A text of a megabyte stands in its sample alone."""
    run.result("s", "t", "d", total=1)
    run.predictions("s", "t", "d", [line(run, 0, "p", "r" * 1_000_000)])
    archive = inspected(of_inputs("i" * 1_000_000))[FILE]
    (short,) = archive["summaries.json"]
    assert len(json.dumps(short)) < 5_000
    assert len(sample(archive, "s0")["input"]) == 1_000_000


def test_nothing_is_left_of_an_export_that_fails(run, inspected, tmp_path):
    """An archive is there whole, or the one before it is."""
    run.result("s", "t", "d", total=1)
    run.predictions("s", "t", "d", [line(run, 0)])
    inspected()
    before = (tmp_path / "out" / FILE).read_bytes()
    calls = count()

    def failing():
        yield SentSample("s0", "x")

    def sources(_):
        next(calls)
        return Sources(sent=failing, embed=lambda _: 1 / 0)

    run.predictions("s", "t", "d", [line(run, 0, {"file": "a", "size": 1, "sha256": "0"})])
    with pytest.raises(ZeroDivisionError):
        inspected(sources)
    assert (tmp_path / "out" / FILE).read_bytes() == before
    assert [path.name for path in (tmp_path / "out" / "s" / "t").iterdir()] == ["d.eval"]


def test_somebody_elses_file_stops_all(run, inspected, tmp_path):
    """Nothing is written beside it either."""
    run.result("s", "a", "d")
    run.result("s", "t", "d")
    run.write(tmp_path / "out" / FILE, "mine")
    with pytest.raises(ConfigError, match="--force"):
        inspected()
    assert [path.name for path in (tmp_path / "out").rglob("*.eval")] == ["d.eval"]
    assert FILE in inspected(force=True)


def test_a_file_that_is_being_written(run, inspected):
    """The last line of a sample is its answer, in whatever order they came; a line that is not whole is none."""
    run.predictions(
        "s", "t", "d", [line(run, 1, "b"), line(run, 0, "old"), line(run, 0, "a")], tail='{"index": 2, "id"'
    )
    run.write(run.paths.pair(run.key("s", "t", "d")).fingerprint, "{}")
    archive = inspected()[FILE]
    assert [sample(archive, f"s{i}")["output"]["completion"] for i in (0, 1)] == ["a", "b"]
    assert archive["header.json"]["eval"]["dataset"]["sample_ids"] == ["s0", "s1"]
