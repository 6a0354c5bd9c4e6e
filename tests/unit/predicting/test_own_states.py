"""Programs that keep a state of their own, by a name of their own: begun anew when we do, and the user's else."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from pytest_evalrun.control.reset import plan_reset, reset
from pytest_evalrun.control.selection import selected
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.context import EvalrunWarning
from pytest_evalrun.programs.results import TICK_SECONDS, is_older
from pytest_evalrun.report.runs import find_run
from pytest_evalrun.rundir.state import parse
from pytest_evalrun.suite.pairs import Cut

# As task_run.sh had them: what is complete by its own word is not done again, wherever its results are by then.
EVAL_SH = """
RUN_STATE_NAME=.eval
own=$1/$RUN_STATE_NAME
[ -e "$own.complete.state" ] && { echo "already complete"; exit 0; }
echo "$3-$4" >> runs.txt
failed=0
[ -e "$own.state" ] && failed=$(sed -n s/RUNNING_FAILED_BATCHES=//p "$own.state")
printf '%s\\n' "# state" RUNNING_CURRENT_BATCH=1 RUNNING_TOTAL_BATCHES=1 RUNNING_BATCH_COMPLETED=6 \\
    RUNNING_BATCH_TOTAL=6 RUNNING_FAILED_BATCHES=$((failed + 2)) RUNNING_RETRY_COUNT=5 RUNNING_TIMESTAMP=1 \\
    MAX_BATCH_SIZE=2 TOTAL_DATA=6 > "$own.state"
echo id,answer > "$2/rows_$3.csv"
i=$3; while [ $i -lt $4 ]; do echo "s$i,$i" >> "$2/rows_$3.csv"; i=$((i + 1)); done
: > "$own.complete.state"
"""


class Script:
    """``eval.sh`` and the directory where it keeps its state; ``runs`` are the ranges that it did since asked last."""

    def __init__(self, shop):
        self.shop = shop
        self.directory = shop.root / "data"
        (shop.root / "eval.sh").write_text(EVAL_SH)
        shop.data()

    def pair(self, **settings):
        command = ["bash", "eval.sh", "{dataset_dir}", "{output}", "{low}", "{high}"]
        results = {"csv": "rows_{low}.csv", "prediction": "answer"}
        given = {"adapter": "command", "command": command, "results": results, "env": {"RUN_STATE_NAME": ".eval"}}
        return self.shop.pair(**given | settings)

    def runs(self):
        file = self.shop.root / "runs.txt"
        lines = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    def own(self):
        return sorted(path.name for path in self.directory.glob(".eval*"))


@pytest.fixture
def script(shop):
    return Script(shop)


@pytest.fixture
def evaluator(evaluator):
    """A run that others find, by its ``run.json``."""
    begin(evaluator.run)
    return evaluator


def begin(run):
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"format": 1, "created": "2026-11-21T10:30:15Z"}')


def put_long_ago(path, text):
    """So long that no clock of a file system takes it for new."""
    path.write_text(text)
    while not is_older(path, time.time()):
        time.sleep(TICK_SECONDS)


def fresh(script, evaluator):
    return evaluator(script.pair(), run_id="second", fresh=True)


def another_model(script, evaluator):
    (script.shop.root / "weights.bin").write_bytes(b"others")
    return evaluator(script.pair())


def after_a_reset(script, evaluator):
    found = find_run(evaluator.run.name, evaluator.workdir)
    reset(found, plan_reset(found, selected(found.paths, None)))
    return evaluator(script.pair(), run_id="second")


def in_another_run(script, evaluator):
    evaluator.run = evaluator.workdir / "run 2"
    begin(evaluator.run)
    return evaluator(script.pair())


AGAIN = [fresh, another_model, after_a_reset, in_another_run]


@pytest.mark.parametrize("again", AGAIN, ids=lambda again: again.__name__)
def test_a_script_begins_anew_when_its_pair_does(script, evaluator, again):
    """Its own state and completion files lie beside it as `.old`: else it would say for ever that it is complete."""
    evaluator(script.pair())
    assert (script.runs(), script.own()) == (["0-6"], [".eval.complete.state", ".eval.state"])
    assert again(script, evaluator).metrics == {"exact_match": 1.0}
    assert script.runs() == ["0-6"]
    assert [name for name in script.own() if name.endswith(".old")] == [".eval.complete.state.old", ".eval.state.old"]


def test_what_is_complete_lets_the_script_and_its_state_alone(script, evaluator):
    """A pair that is reused starts nothing and renames nothing."""
    evaluator(script.pair())
    before = script.own()
    script.runs()
    assert evaluator(script.pair()).reused
    assert (script.runs(), script.own()) == ([], before)


def test_what_the_user_had_before_is_his(script, evaluator):
    """On adoption nothing is renamed: the error names the file that says that all is done, and --eval-fresh."""
    theirs = script.directory / ".eval.complete.state"
    put_long_ago(theirs, "by hand")
    for _ in range(2):
        with pytest.raises(PairError) as failed:
            evaluator(script.pair())
        assert f"{theirs} says that it was done before: --eval-fresh puts that aside" in str(failed.value)
        assert (script.runs(), script.own()) == ([], [".eval.complete.state"])
    assert fresh(script, evaluator).metrics == {"exact_match": 1.0}
    assert (script.directory / ".eval.complete.state.old").read_text() == "by hand"


def test_a_script_of_files_that_did_nothing_warns_of_what_was_before(script, evaluator):
    """Where each file may be missing by itself, the pair's warning names what says that all is done."""
    theirs = script.directory / ".eval.complete.state"
    put_long_ago(theirs, "by hand")
    with (
        pytest.raises(PairError, match="no sample was predicted"),
        pytest.warns(EvalrunWarning, match=re.escape(f"letters/echo/clean: {theirs} says that it was done before: ")),
    ):
        evaluator(script.pair(results={"files": "{id}.txt"}))


def test_a_range_is_not_done_because_another_is(script, evaluator):
    """Shards of a script with one state for all of them are each done."""
    whole = replace(script.pair(), cuts=(Cut(0, 2, "0-2"), Cut(2, 6, "2-6")))
    for shard in whole.shards():
        evaluator(shard)
    assert script.runs() == ["0-2", "2-6"]
    assert evaluator(whole).metrics == {"exact_match": 1.0}


def test_the_last_state_keeps_what_a_program_counted(script, evaluator):
    """FAILED and RETRY of the program stand in the state of the pair when it has ended."""
    evaluator(script.pair())
    state = parse((evaluator.run / "state/letters/echo/clean.state").read_text())
    assert (state.failed_batches, state.retry_count) == (2, 5)
    assert (state.current_batch, state.total_batches, state.total_data) == (3, 3, 6)


ONCE_A_BATCH = """
[ -e "$RUN_STATE_NAME.complete.state" ] && exit 0
[ -e .batch.complete.state ] && exit 0
cp "$1" "$2/answers.jsonl"
: > "$RUN_STATE_NAME.complete.state"
: > "$3/.batch.complete.state"
"""


def test_a_batch_is_not_done_because_another_is(script, evaluator):
    """Whatever name a program that is started once a batch has for its state, ours or its own."""
    (script.shop.root / "eval.sh").write_text(ONCE_A_BATCH)
    own = script.directory / ".batch.complete.state"
    (script.shop.root / ".batch.complete.state").symlink_to(own)
    theirs = evaluator.run / "outputs/letters/echo/clean/answers.jsonl"
    theirs.parent.mkdir(parents=True)
    put_long_ago(theirs, "mine\n")
    pair = script.pair(
        command=["bash", "eval.sh", "{batch}", "{output}", "{dataset_dir}"],
        results={"jsonl": "*.jsonl", "prediction": "input"},
        ask="batch",
        env={"RUN_STATE_NAME": ".batch"},
    )
    assert evaluator(pair).result.samples["predicted"] == 6
    assert theirs.with_name("answers.jsonl.stale").read_text() == "mine\n"
