"""The ``evalrun`` command, as a process of its own over real suites and runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SUITE = """\
name: letters
adapter: ./model.py:predict
models:
  - {name: upper, tags: [quick], params: {shift: 0}}
  - {name: 模型 A, skip: "not ready"}
datasets:
  - {name: clean, path: clean.jsonl}
format: jsonl
id_column: id
inputs: [text]
reference: label
metrics: [exact_match]
gates: {exact_match: {min: 0.5}}
"""
MODEL = """\
def predict(batch, **params):
    return [sample.input.upper() for sample in batch]
"""


@pytest.fixture
def project(tmp_path):
    """A suite with one pair to run and one to skip."""
    root = tmp_path / "my project"
    suite = root / "evals" / "letters"
    suite.mkdir(parents=True)
    (suite / "evalrun.yaml").write_text(SUITE, encoding="utf-8")
    (suite / "model.py").write_text(MODEL)
    samples = [{"id": f"s{i}", "text": text, "label": label} for i, (text, label) in enumerate(["aA", "bB", "cX"])]
    (suite / "clean.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return root


def call(root, *arguments, module="pytest_evalrun.cli", **environ):
    code = f"from {module} import main; main()"
    environ = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=root, env=environ, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def evaluated(project):
    """The suite after a real run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "evals", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_list_needs_no_run(project):
    """Every pair that pytest would find, with an id to paste."""
    code, out, err = call(project, "list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "pair                   status              node id",
        "letters/upper/clean    -                   evals/letters/evalrun.yaml::test_pair[upper/clean]",
        "letters/模型 A/clean   skipped: not ready  evals/letters/evalrun.yaml::test_pair[模型 A/clean]",
    ]
    assert not (project / "outputs").exists()


def test_list_as_json(project):
    """For programs: names, paths, tags."""
    code, out, _ = call(project, "list", "evals", "--json")
    assert code == 0
    first = json.loads(out)[0]
    assert tuple(first[name] for name in ("suite", "task", "dataset", "tags", "skip")) == (
        "letters",
        "upper",
        "clean",
        ["quick"],
        None,
    )
    assert first["data"] == str((project / "evals/letters/clean.jsonl").resolve())


@pytest.mark.parametrize("where", ["node_modules", ".hidden", "outputs/default", "venv"])
def test_list_does_not_walk_where_pytest_does_not(project, where):
    """Nor into the work directory."""
    inner = project / where / "inner"
    inner.mkdir(parents=True)
    (inner / "evalrun.yaml").write_text("nonsense: 1\n")
    code, out, _ = call(project, "list")
    assert code == 0
    assert len(out.splitlines()) == 3


def test_no_suite_is_an_error(tmp_path):
    """One line that says where was looked."""
    code, out, err = call(tmp_path, "list")
    assert (code, out) == (2, "")
    assert err.startswith("Error: no evalrun.yaml found: looked in ")


def test_a_wrong_suite_is_an_error(project):
    """The configuration's own message, and no traceback."""
    (project / "evals/letters/evalrun.yaml").write_text("metricks: [top1]\n")
    code, _, err = call(project, "list")
    assert code == 2
    assert err.startswith("Error: ")
    assert "metricks" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "pair",
    ["upper/clean", "letters/upper/clean", "evals/letters/evalrun.yaml::test_pair[upper/clean]"],
)
def test_explain_shows_value_and_layer(project, pair):
    """Each setting with where it came from; plain text into a pipe."""
    code, out, err = call(project, "explain", pair)
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "evalrun.yaml:10" in rows["reference"]
    assert "built-in" in rows["retries"]
    assert "\x1b" not in out


def test_an_unknown_pair_names_the_nearest(project):
    """A typing mistake is a usage error that helps."""
    code, _, err = call(project, "explain", "uper/clean")
    assert code == 2
    assert "nearest: letters/upper/clean" in err


def test_commands_that_need_a_run_say_so(project):
    """No run is no traceback."""
    for command in (["show", "upper/clean"], ["report"], ["verify"]):
        code, _, err = call(project, *command)
        assert code == 2
        assert "no run here" in err


def test_report_makes_the_summary_again(evaluated):
    """And the merged table when asked."""
    run = evaluated / "outputs/default/latest"
    before = (run / "summary/summary.csv").read_text()
    (run / "summary/summary.csv").unlink()
    code, out, err = call(evaluated, "report", "--merged")
    assert (code, err) == (0, "")
    assert before == (run / "summary/summary.csv").read_text()
    assert len((run / "summary/letters_merged.csv").read_text().splitlines()) == 4
    assert "3 rows from 1 files" in out


def test_pairs_gone_from_disk_are_gone_in_the_report(evaluated):
    """Who removes a model sees it outside the means."""
    file = evaluated / "evals/letters/evalrun.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("name: upper", "name: lower"), encoding="utf-8")
    assert call(evaluated, "report")[0] == 0
    assert "## Gone" in (evaluated / "outputs/default/latest/summary/summary.md").read_text(encoding="utf-8")


def test_show_a_pair(evaluated):
    """Metrics with interval, n and gate; then the samples behind them."""
    code, out, _ = call(evaluated, "show", "upper/clean")
    assert code == 0
    assert out.startswith("letters/upper/clean: passed; samples: 3 total, 3 predicted, 0 failed")
    assert "exact_match  0.6667" in out
    assert "min 0.5000 holds" in out
    code, out, _ = call(evaluated, "show", "upper/clean", "--wrong")
    assert code == 0
    assert out.splitlines()[1].split() == ["2", "s2", "C", "X", "0", "exact_match"]
    code, out, _ = call(evaluated, "show", "upper/clean", "--worst", "1")
    assert len(out.splitlines()) == 2


def test_list_says_what_the_run_says(evaluated):
    """After a run, the list shows each pair's status."""
    assert "letters/upper/clean    passed" in call(evaluated, "list")[1]


def test_verify_finds_a_changed_byte(evaluated):
    """By hash: same size, same time; exit code 1."""
    assert call(evaluated, "verify")[0] == 0
    path = next((evaluated / "outputs/default/latest/predictions/letters").glob("*/clean.jsonl")).resolve()
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"C"', b'"X"'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    code, out, _ = call(evaluated, "verify")
    assert code == 1
    assert "clean" in out


def test_heavy_libraries_stay_out(project):
    """Listing must not cost the start of numpy or pandas, nor of pytest."""
    code = (
        "import sys; from pytest_evalrun.cli import app; app(['list'], standalone_mode=False); "
        "print(sorted({'numpy', 'pandas', 'pytest', 'sklearn', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stderr == "[]\n"
