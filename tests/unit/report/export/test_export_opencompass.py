"""What stands in an exported work directory; the summariser's files to the byte, as its source writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabulate import tabulate

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.export.chosen import SentSample, Sources, choose
from pytest_evalrun.report.export.opencompass import export_opencompass
from pytest_evalrun.report.export.opensummary import Summarised, summary_files, tabulated
from pytest_evalrun.report.export.target import ExportTarget
from pytest_evalrun.report.sampleinputs import Inputs

GOLDEN = Path(__file__).parent / "golden"
TIME = "20240205_123456"
# Two models on three datasets, one of which nobody has scored, and one that only one of them has.
FOUND = (
    Summarised("opt350m", "siqa", "e78df3", {"accuracy": 21.55}),
    Summarised("opt350m", "winograd", "b6c7ed", {"accuracy": 51.2345, "f1": 7}),
    Summarised("opt350m", "gsm8k", None, {"error": "it broke,\nat once"}),
    Summarised("opt125m, small", "siqa", "e78df3", {"accuracy": 12.44}),
    Summarised("opt125m, small", "winograd", "000000", {"my metric": 3.14159, "accuracy": 49.82}),
)


@pytest.fixture
def exported(run, tmp_path):
    """``exported(sources)``: export the run; the files by their names, as text."""

    def export(sources=None, name=TIME, *, limits=False):
        target = ExportTarget(tmp_path / "out", "opencompass")
        pairs = choose(run.paths, limits=limits).pairs
        told = list(export_opencompass(pairs, name, target, lambda _: sources or Sources()))
        export.remarks = [remark for _, remarks in told for remark in remarks]
        files = (path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name[0] != ".")
        return {path.relative_to(tmp_path / "out").as_posix(): path.read_text(encoding="utf-8") for path in files}

    return export


@pytest.mark.parametrize("kind", ["txt", "csv", "md"])
def test_the_summarisers_files(kind):
    """Time, frames, tables and the blanks between them are its own."""
    text = dict(zip(("txt", "csv", "md"), summary_files(FOUND, TIME), strict=True))[kind]
    assert text == (GOLDEN / f"summary_{TIME}.{kind}").read_text(encoding="utf-8")


CELLS = st.sampled_from(["-", "21.55", "100.00", "-0.50", "nan", "7", "e78df3", "123456", "1e2", "siqa", "任务", "a b"])


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5), st.sampled_from(["dataset", "m", "a model's name"]))
def test_tables_are_those_of_tabulate(rows, name):
    """The library is asked what it writes where nothing beside it counts the width of letters."""
    table = [["dataset", "version", name], *map(list, rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tabulate.WIDE_CHARS_MODE", False)
        theirs = tabulate(table, headers="firstrow", floatfmt=".2f")
    assert tabulated(table) == theirs


def test_predictions_and_results(run, exported):
    """They are what ``json.dump`` with an indent of four writes, and shares are per cent."""
    specs = {"accuracy": {"use": "exact_match", "params": {}}, "mae": {"use": "mae", "params": {}}}
    fingerprint = {"score": {"metrics": specs}, "prediction": {"inputs": "38db4e1fad"}}
    run.result("s", "org/m", "d", metrics={"accuracy": 0.425, "mae": 0.425}, total=2, fingerprint=fingerprint)
    run.predictions("s", "org/m", "d", [(0, "x\ny", "y"), (1, {"a": 1}, ["b"])])
    run.scores("s", "org/m", "d", [{"index": 0, "accuracy": 1.0, "answer": "y"}, {"index": 1, "accuracy": 0.0}])
    files = exported(Sources(Inputs((), lambda: iter([("s0", "ask"), ("s1", "问")]))))
    text = files["predictions/org_m/d.json"]
    predictions = json.loads(text)
    assert predictions == {
        "0": {"origin_prompt": "ask", "prediction": "x\ny", "gold": "y"},
        "1": {"origin_prompt": "问", "prediction": '{"a": 1}', "gold": ["b"]},
    }
    assert text == json.dumps(predictions, indent=4, ensure_ascii=False)
    result = json.loads(files["results/org_m/d.json"])
    assert files["results/org_m/d.json"] == json.dumps(result, indent=4, ensure_ascii=False)
    assert (result["accuracy"], result["mae"], result["details"]["type"]) == (42.5, 0.425, "GEN")
    assert result["details"]["0"]["predictions"] == "y"
    assert files[f"summary/summary_{TIME}.csv"] == (
        "dataset,version,metric,mode,org/m\nd,38db4e,accuracy,gen,42.50\nd,38db4e,mae,gen,0.42\n"
    )


def test_prompts_have_opencompass_roles(run, exported):
    """A conversation is a list of them."""
    run.result("s", "m", "d", metrics={"f1": 0.5}, total=1)
    run.predictions("s", "m", "d", [(0, "4", "4")])
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "2+2?"}]}]
    said.append({"role": "assistant", "content": "?"})
    files = exported(Sources(sent=lambda: iter([SentSample("s0", said)])))
    assert json.loads(files["predictions/m/d.json"])["0"]["origin_prompt"] == [
        {"role": "SYSTEM", "prompt": "Be brief."},
        {"role": "HUMAN", "prompt": "2+2?"},
        {"role": "BOT", "prompt": "?"},
    ]


def test_a_failed_sample_is_no_answer(run, exported):
    """OpenCompass knows no failed sample; which they are is said, and stands beside them."""
    run.result("s", "m", "d", metrics={"f1": 0.5}, total=2, failed=1)
    failed = run.line((1, None, "y")) | {"status": "failed", "error": "OSError: gone"}
    run.predictions("s", "m", "d", [(0, "x", "y"), failed])
    told = json.loads(exported()["predictions/m/d.json"])["1"]
    assert (told["prediction"], told["error"]) == ("", "OSError: gone")
    assert exported.remarks == ["1 failed sample there as an empty prediction, with the error beside it"]


def test_what_is_not_finished_is_not_taken_for_done(run, exported):
    """OpenCompass takes a file of predictions for a pair that is done."""
    run.result("s", "m", "d", status="error", environment={"error": "no model"})
    run.predictions("s", "m", "d", [(0, "x", "y")])
    run.predictions("s", "m", "half", [(0, "x", "y")])
    run.write(run.paths.pair(run.key("s", "m", "half")).fingerprint, "{}")
    files = exported()
    assert not [name for name in files if name.startswith("predictions/")]
    assert json.loads(files["results/m/d.json"]) == {"error": "no model"}
    assert files[f"summary/summary_{TIME}.csv"].splitlines()[1:] == ["d,-,-,-,-"]
    assert "1 pair without a result left out" in exported.remarks


def test_each_of_several_suites_has_a_work_directory(run, exported):
    """Two suites may have models and datasets of the same names."""
    for suite in ("a", "b"):
        run.result(suite, "m", "d", metrics={"f1": 0.5})
    files = exported()
    assert {"a/results/m/d.json", "b/results/m/d.json", f"b/summary/summary_{TIME}.md"} <= files.keys()


def test_generations_are_numbered_through(run, exported):
    """Each answer has a number of its own."""
    run.result("s", "m", "d", metrics={"f1": 0.5}, total=2, fingerprint={"prediction": {"generations": 2}})
    run.predictions("s", "m", "d", [run.line((i, f"{i}{g}", "r")) | {"generation": g} for i in (0, 1) for g in (0, 1)])
    answers = {key: one["prediction"] for key, one in json.loads(exported()["predictions/m/d.json"]).items()}
    assert answers == {"0": "00", "1": "01", "2": "10", "3": "11"}


def test_a_work_directory_of_opencompass_stays(run, exported, tmp_path):
    """Real predictions are not replaced by ours."""
    run.result("s", "m", "d", metrics={"f1": 0.5})
    run.write(tmp_path / "out" / "predictions" / "m" / "d.json", "{}")
    with pytest.raises(ConfigError, match=r"d\.json: it exists.*--force"):
        exported()
    assert not (tmp_path / "out" / "summary").exists()
