"""The ``evalrun`` command, as a process of its own over real suites and runs."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.results import Result
from pytest_evalrun.suite.pairs import PairKey

pytestmark = pytest.mark.measured

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


def made(place):
    """A suite with one pair to run and one to skip."""
    root = place / "my project"
    suite = root / "evals" / "letters"
    suite.mkdir(parents=True)
    (suite / "evalrun.yaml").write_text(SUITE, encoding="utf-8")
    (suite / "model.py").write_text(MODEL)
    samples = [{"id": f"s{i}", "text": text, "label": label} for i, (text, label) in enumerate(["aA", "bB", "cX"])]
    (suite / "clean.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return root


@pytest.fixture
def project(tmp_path):
    """That suite."""
    return made(tmp_path)


def call(root, *arguments, module="pytest_evalrun.cli", **environ):
    code = f"from {module} import main; main()"
    environ = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=root, env=environ, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The suite after a real run, made once."""
    root = made(tmp_path_factory.mktemp("finished"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "evals", "-q", "-p", "no:cacheprovider"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def evaluated(finished, tmp_path):
    """The same for a test of its own."""
    return shutil.copytree(finished, tmp_path / "my project", symlinks=True)


def test_a_run_is_found_from_anywhere_in_its_project(evaluated):
    """By rootdir, as pytest finds it; where nothing says which run is the latest, the one that is taken is named."""
    (evaluated / "pytest.ini").write_text("[pytest]\n")
    inside = evaluated / "evals" / "letters"
    code, out, err = call(inside, "show", "upper/clean")
    assert (code, err) == (0, "")
    (evaluated / "outputs/default/latest").unlink()
    code, again, err = call(inside, "show", "upper/clean")
    assert (code, again) == (0, out)
    assert "this is the newest, " in err
    code, _, err = call(inside, "list")
    assert (code, "this is the newest, " in err) == (0, True)


def test_list_needs_no_run(project):
    """Every pair that pytest would find, with an id to paste."""
    code, out, err = call(project, "list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "pair                  node id                                                      status",
        "letters/upper/clean   evals/letters/evalrun.yaml::test_pair[upper/clean]           -",
        r"letters/模型 A/clean  evals/letters/evalrun.yaml::test_pair[\u6a21\u578b A/clean]  skipped: not ready",
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
    (inner / "evalrun.yaml").write_text("adapter: 7\n")
    code, out, _ = call(project, "list")
    assert code == 0
    assert len(out.splitlines()) == 3


def test_no_suite_is_an_error(tmp_path):
    """One line that says where was looked."""
    code, out, err = call(tmp_path, "list")
    assert (code, out) == (2, "")
    assert err.startswith("Error: no suite found: looked for evalrun.yaml in ")


def test_what_is_no_suite_is_told_where_there_is_no_other(tmp_path):
    """Its place, and what it lacks: it may be a suite with a slip of the pen."""
    (tmp_path / "evalrun.yaml").write_text("adaptor: onnx\n")
    code, _, err = call(tmp_path, "list")
    assert code == 2
    assert "evalrun.yaml: found the keys adaptor; did you mean 'adapter'?" in err


def test_a_wrong_suite_is_an_error(project):
    """The configuration's own message, and no traceback."""
    (project / "evals/letters/evalrun.yaml").write_text("adapter: onnx\nmetricks: [top1]\n")
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
    assert "evalrun.yaml:11" in rows["reference"]
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
    assert "3 rows from 1 file" in out


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
    assert [line.split() for line in out.splitlines()] == [
        ["index", "id", "text", "prediction", "reference", "score", "metric", "file"],
        ["2", "s2", "c", "C", "X", "0", "exact_match"],
    ]
    code, out, _ = call(evaluated, "show", "upper/clean", "latest", "--worst", "1")
    assert len(out.splitlines()) == 2
    assert call(evaluated, "show", "upper/clean", "--run", "latest", "--worst", "1")[1] == out


def test_runs_are_compared_for_a_script_too(evaluated):
    """1 says that something differs, 2 that nothing could be compared; without being asked for, 0."""
    run = evaluated / "outputs/default/latest"
    shutil.copytree(run.resolve(), run.parent / "other")
    assert call(evaluated, "diff", "latest", "other", "--exit-code")[0] == 0
    result = run.parent / "other/results/letters/upper/clean.json"
    result.write_text(result.read_text().replace('"value": 0.6666666666666666', '"value": 0.5'))
    code, out, _ = call(evaluated, "diff", "latest", "other", "--exit-code")
    assert code == 1
    assert "exact_match  0.6667 → 0.5000  (-0.1667, worse; no interval: its value is not the mean" in out
    assert call(evaluated, "diff", "latest", "other")[0] == 0
    assert call(evaluated, "diff", "latest", "none", "--exit-code")[0] == 2


def test_nothing_wrong_is_said(evaluated):
    """A header alone might be a mistake."""
    data = evaluated / "evals/letters/clean.jsonl"
    data.write_text(data.read_text().replace('"X"', '"C"'))
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=evaluated, check=True)
    assert call(evaluated, "show", "upper/clean", "--wrong")[1] == "letters/upper/clean: nothing wrong of 3\n"


def test_list_says_what_the_run_says(evaluated):
    """After a run, the list of ids shows each pair's status."""
    assert call(evaluated, "list", "--ids")[1].splitlines()[1].split()[::2] == ["letters/upper/clean", "passed"]


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


@pytest.fixture
def run_by_hand(tmp_path):
    """A run with one result, and no suite at all."""
    run = tmp_path / "outputs/default/one"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"format": 1}')
    (run.parent / "latest").symlink_to("one")
    metric = {"value": 0.5, "n": 4, "low": 0.15, "high": 0.85, "better": "higher"}
    result = Result(
        suite="s",
        task="[red]模型[/red]",
        dataset="d" * 90,
        status="failed",
        metrics={"top1": metric},
        samples={"total": 4, "predicted": 4, "failed": 0, "reused": 0},
        seconds={"total": 1.5},
        gates=[{"metric": "top1", "kind": "min", "value": 0.5, "limit": 0.9, "by": 0.4, "holds": False}],
        fingerprint={},
        environment={},
    )
    files = RunPaths(run).pair(PairKey("s", "[red]模型[_red]", "d" * 90))
    write_atomic(files.result, result.dumps())
    lines = [{"index": i, "id": f"s{i}" * 30, "status": "ok", "prediction": i, "reference": 1} for i in range(4)]
    write_atomic(files.predictions, "".join(json.dumps(line) + "\n" for line in lines))
    scores = [{"index": i, "id": f"s{i}" * 30, "top1": float(i == 1)} for i in range(4)]
    write_atomic(files.scores, "".join(json.dumps(line) + "\n" for line in scores))
    return tmp_path


PAIR = "[red]模型[/red]/" + "d" * 90


def test_show_a_breach(run_by_hand):
    """By how much a gate is breached; markup in a name is a name."""
    code, out, err = call(run_by_hand, "show", PAIR)
    assert (code, err) == (0, "")
    assert "s/[red]模型[/red]/ddd" in out
    assert "min 0.9000 breached by 0.4000" in out


def test_a_terminal_gets_a_table_that_folds(run_by_hand):
    """On 60 columns nothing is cut off, and NO_COLOR means no escape sequences."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "60", "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "from pytest_evalrun.cli import main; main()"
    arguments = [sys.executable, "-c", code, "show", PAIR, "--worst", "1"]
    done = subprocess.run(arguments, cwd=run_by_hand, env=environ, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    out = _drain(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert max(len(line) for line in out.splitlines()) <= 60
    assert out.count("s0") == 30
    assert "\x1b" not in out


def _drain(fd):
    blocks = []
    try:
        while block := os.read(fd, 65536):
            blocks.append(block)
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(fd)
    return b"".join(blocks).decode()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["show", PAIR, "--worst", "2", "--wrong"], "give one of them", id="worst and wrong"),
        pytest.param(["show", PAIR, "--wrong", "--prompt", "s1"], "give one of them", id="wrong and prompt"),
        pytest.param(["show", "PAIR", "--prompt", "s1"], "no suite found", id="a prompt and no suite"),
        pytest.param(["show", PAIR, "--wrong", "--metric", "psnr"], "metric psnr", id="unknown metric"),
        pytest.param(["show", PAIR, "--run", "none"], "one", id="unknown run"),
        pytest.param(["report", "--run", "new"], "new: a run is started by pytest", id="new run"),
        pytest.param(["list", "no/such/place"], "no/such/place: not found", id="unknown path"),
        pytest.param(["show", PAIR, "--worst", "0"], "--worst", id="no samples"),
    ],
)
def test_usage_errors(run_by_hand, arguments, text):
    """Exit code 2, one message, no traceback."""
    code, _, err = call(run_by_hand, *arguments)
    assert code == 2
    assert text in err
    assert "Traceback" not in err


def test_a_terminal_that_knows_no_chinese(run_by_hand):
    """A name that cannot be shown is escaped, and the command goes on."""
    code, out, err = call(run_by_hand, "show", PAIR, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert (code, err) == (0, "")
    assert "\\u6a21" in out


def test_report_tells_what_is_left_out(run_by_hand):
    """Damage costs what is damaged, and is told."""
    run = run_by_hand / "outputs/default/one"
    broken = run / "results/s/t/d.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    with next(run.glob("predictions/s/*/*d.jsonl")).open("a") as file:
        file.write("torn")
    code, out, err = call(run_by_hand, "report", "--merged")
    assert code == 0
    assert "results/s/t/d.json: cannot be read; left out" in err
    assert "line 5 cannot be read; left out" in err
    assert "4 rows from 1 file" in out


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
