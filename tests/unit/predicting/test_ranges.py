"""Programs that do a pair or a range of it: what they are asked, what they leave, and every way in which they fail."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.life import evaluate
from pytest_evalrun.rundir.shards import read_ranges
from pytest_evalrun.rundir.state import parse
from pytest_evalrun.suite.pairs import Cut

# A range worker as people write them: doubles x; every range that it is asked is written down. What it shall do wrong
# is told by --do.
WORKER = """
import argparse, csv, json, os, signal, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--low", type=int)
parser.add_argument("--high", type=int)
parser.add_argument("--input")
parser.add_argument("--out")
parser.add_argument("--do", default="")
asked = parser.parse_args()
print("worker", asked.low, asked.high, asked.do, flush=True)
with open("ranges.txt", "a") as file:
    file.write(f"{asked.low}-{asked.high}\\n")
rows = [json.loads(line) for line in open(asked.input)][asked.low:asked.high]
once = not os.path.exists("failed.txt")
with open(f"{asked.out}/part_{asked.low}_to_{asked.high}.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["id", "answer"])
    if asked.do == "backwards":
        rows.reverse()
    for place, row in enumerate(rows):
        if asked.do == "die" and once and place == 3:
            open("failed.txt", "w").close()
            file.write("s3,")
            file.flush()
            print("out of ideas", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if asked.do == "exit" and place == 2:
            file.flush()
            print("\\n".join(f"line {number}" for number in range(30)), flush=True)
            sys.exit(3)
        if asked.do == "fewer" and row["id"] in ("s1", "s4"):
            continue
        if asked.do == "any":
            for copy in range(place % 3):
                table.writerow([row["id"], f"{row['x']}.{copy}"])
            continue
        answer = "nan" if asked.do == "nan" and place == 1 else row["x"]
        table.writerow([row["id"], answer])
        if asked.do == "twice" and place == 1:
            table.writerow([row["id"], answer])
    if asked.do == "alien":
        table.writerow(["nobody", 7])
    if asked.do == "torn":
        file.seek(0, 2)
        file.write("s5")
if asked.do == "latin":
    with open(f"{asked.out}/part_{asked.low}_to_{asked.high}.csv", "wb") as file:
        file.write("id,answer\\ns0,caf\\u00e9\\n".encode("latin-1"))
if asked.do == "nothing":
    os.remove(f"{asked.out}/part_{asked.low}_to_{asked.high}.csv")
"""
COMMAND = [sys.executable, "worker.py", "--low", "{low}", "--high", "{high}", "--input", "{dataset}"]
COMMAND += ["--out", "{output}", "--do", "{do}"]
RESULTS = {"csv": "part_{low}_to_{high}.csv", "prediction": "answer"}


@pytest.fixture
def bench(shop):
    (shop.root / "worker.py").write_text(WORKER)
    shop.data()
    return shop


def program(shop, do="", **settings):
    words = {"adapter": "command", "command": COMMAND, "results": RESULTS, "params": {"do": do}}
    return shop.pair(**(words | settings))


def ranges(shop):
    """The ranges that the worker was asked for since the last time."""
    file = shop.root / "ranges.txt"
    found = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def lines(evaluator, pair):
    path = evaluator.run / "predictions" / "letters" / "echo" / "clean.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def records(evaluator):
    return list(read_ranges(evaluator.run / "shards" / "letters" / "echo" / "clean"))


def test_a_pair_is_one_call(bench, evaluator):
    """A program is started once for the whole pair, its rows are the predictions, and then the pair is reused."""
    done = evaluator(program(bench))
    assert done.metrics == {"exact_match": 1.0}
    assert ranges(bench) == ["0-6"]
    (record,) = records(evaluator)
    assert (record.status, record.low, record.high, record.rows, record.returncode) == ("completed", 0, 6, 6, 0)
    assert [Path(file).name for file in record.files] == ["part_0_to_6.csv"]
    state = parse((evaluator.run / "state" / "letters" / "echo" / "clean.state").read_text())
    assert (state.current_batch, state.total_batches, state.batch_completed, state.total_data) == (3, 3, 2, 6)
    assert evaluator(program(bench)).reused
    assert ranges(bench) == []


def test_order_does_not_matter(bench, evaluator):
    """Rows are put to their samples by id, in whatever order they were written."""
    assert evaluator(program(bench, "backwards")).metrics == {"exact_match": 1.0}


def test_any_number_of_rows(bench, evaluator):
    """With ``rows: any`` a prediction is the list of a sample's rows, which may be empty."""
    pair = program(bench, "any", rows="any", metrics=[])
    evaluator(pair)
    assert [line["prediction"] for line in lines(evaluator, pair)] == [
        *([], ["1.0"], ["2.0", "2.1"], [], ["4.0"], ["5.0", "5.1"])
    ]


def test_without_prediction_all_columns(bench, evaluator):
    """Where no column is named, a prediction is all of them but the id."""
    pair = program(bench, results={"csv": RESULTS["csv"]}, metrics=[])
    evaluator(pair)
    assert lines(evaluator, pair)[3]["prediction"] == {"answer": "3"}


def test_only_the_rest_after_a_death(bench, evaluator):
    """A program that dies is started again for what is missing; its complete rows are kept, its torn one is not."""
    done = evaluator(program(bench, "die", retries=1))
    assert done.metrics == {"exact_match": 1.0}
    assert ranges(bench) == ["0-6", "3-6"]
    assert [(r.low, r.high, r.status, r.rows) for r in records(evaluator)] == [
        (0, 3, "completed", 3),
        (3, 6, "completed", 3),
    ]


def test_only_the_rest_in_the_next_run(bench, evaluator):
    """Without retries the next run carries on where it died; the reason names the signal and the usual cause."""
    with pytest.raises(PairError, match=r"(?s)was ended by SIGKILL.*OOM killer.*out of ideas"):
        evaluator(program(bench, "die"))
    assert [(r.low, r.high, r.status) for r in records(evaluator)] == [(0, 3, "completed"), (0, 6, "failed")]
    assert evaluator(program(bench, "die")).metrics == {"exact_match": 1.0}
    assert ranges(bench) == ["0-6", "3-6"]
    assert [(r.low, r.high, r.status) for r in records(evaluator)] == [(0, 3, "completed"), (3, 6, "completed")]


def test_exit_code_and_last_lines(bench, evaluator):
    """The failure names the command, the exit code and the last twenty lines of the output."""
    with pytest.raises(PairError) as failed:
        evaluator(program(bench, "exit"))
    text = str(failed.value)
    assert "worker.py --low 0 --high 6" in text
    assert "ended with exit code 3" in text
    assert "line 10\n" in text
    assert "line 9\n" not in text


SAMPLES = {
    "fewer": ("2 of 6 samples failed", "no row of sample s1"),
    "nan": ("1 of 6 samples failed", "sample s1: the program answered nan"),
    "twice": ("1 of 6 samples failed", "2 rows of sample s1"),
}


@pytest.mark.parametrize("do", SAMPLES)
def test_samples_that_fail(bench, evaluator, do):
    """A sample without exactly one sound row fails by name; the others are kept and not asked again."""
    count, reason = SAMPLES[do]
    with pytest.raises(PairError) as failed:
        evaluator(program(bench, do))
    assert count in str(failed.value)
    assert reason in str(failed.value)
    with contextlib.suppress(PairError):  # asked alone, some of them succeed
        evaluator(program(bench, do))
    assert ranges(bench)[:2] == ["0-6", "1-2"]


PAIRS = {
    "alien": "a row of 'nobody', a sample that was not asked for",
    "latin": "part_0_to_6.csv: not UTF-8: byte 0xe9",
    "nothing": "ended with exit code 0 and left no results: there is no ",
}


@pytest.mark.parametrize("do", PAIRS)
def test_pairs_that_fail(bench, evaluator, do):
    """Results that nobody can trust end the pair, and the reason names the file."""
    with pytest.raises(PairError) as failed:
        evaluator(program(bench, do))
    assert PAIRS[do] in str(failed.value)


def test_program_not_found(bench, evaluator):
    """A program that is not there, or may not be executed, is named."""
    for word, reason in (("./nowhere", "No such file"), ("./worker.py", "Permission denied")):
        with pytest.raises(PairError, match=reason) as failed:
            evaluator(program(bench, command=[word, "{low}"]))
        assert word in str(failed.value)


def test_shards_after_the_whole(bench, evaluator):
    """Ranges of other cuts than before ask only for what nobody did."""
    with pytest.raises(PairError):
        evaluator(program(bench, "die"))
    whole = replace(program(bench), cuts=(Cut(0, 2, "0-2"), Cut(2, 6, "2-6")))
    ranges(bench)
    context = evaluator.context()
    for pair in whole.shards():
        evaluate(replace(pair, layers=program(bench, "die").layers), context)
    assert ranges(bench) == ["3-6"]


def test_names_are_handed_over_as_they_are(bench, evaluator):
    """Quotes, spaces and what a shell would run are arguments, with a shell and without."""
    odd = 'it\'s $(touch pwned) "x" {braces}'
    pair = program(bench, params={"do": odd})
    evaluator(pair)
    text = shlex.join(COMMAND[:-1]).replace("'{low}'", "{low}").replace("'{high}'", "{high}")
    text = text.replace("'{dataset}'", "{dataset}").replace("'{output}'", "{output}") + " {do}"
    evaluator(program(bench, params={"do": odd}, command=text, shell=True))
    log = [record.command for record in records(evaluator)]
    assert odd in shlex.split(log[0][2])
    assert not (bench.root / "pwned").exists()


def test_secrets_are_blanked(bench, evaluator, monkeypatch):
    """The program gets the secret; the files of the run and the log do not."""
    monkeypatch.setenv("TOKEN", "hush-hush-hush")
    context = evaluator.context(secrets=("hush-hush-hush",))
    evaluate(program(bench, params={"do": "${TOKEN}"}, env={"KEY": "${TOKEN}"}), context)
    (record,) = records(evaluator)
    assert "***" in record.command
    assert record.env["KEY"] == "***"


WHOLE = """
import os, sys
new = not os.path.exists("twice")
open("twice", "a").write("x")
with open(sys.argv[1] + "/all.csv", "w") as file:
    print("id,answer", file=file)
    for i in range(6):
        if not (new and i in (1, 4)):
            print(f"s{i},{i}", file=file)
"""
OF_IDS = """
import sys
out, low, high = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(f"{out}/{low}_{high}.csv", "w") as file:
    print("id,answer", file=file)
    for i in (3, 7, 8, 20):
        if low <= i < high:
            print(f"{i},{i}", file=file)
"""
LATE = """
import sys
with open(sys.argv[1] + "/all.csv", "w") as file:
    print("id,answer", *(f"s{i},{i}" for i in range(6)), sep="\\n", file=file)
sys.exit(4)
"""


def script(shop, code, *words, csv="all.csv", **settings):
    """A pair whose program is this code."""
    (shop.root / "script.py").write_text(code)
    command = [sys.executable, "script.py", "{output}", *words]
    return program(shop, command=command, results={"csv": csv, "prediction": "answer"}, **settings)


def test_a_program_without_ranges_is_asked_once(bench, evaluator):
    """Who is not told of ranges does the whole dataset again; rows that are there already are passed over."""
    pair = script(bench, WHOLE)
    with pytest.raises(PairError, match="2 of 6 samples failed"):
        evaluator(pair)
    assert evaluator(pair).metrics == {"exact_match": 1.0}
    assert (bench.root / "twice").read_text() == "xx"


def test_ids_as_ranges(bench, evaluator):
    """With ``range: id`` the program is told ids, up to the one that follows; these must be ascending numbers."""
    rows = [{"id": number, "x": number, "y": number} for number in (3, 7, 8, 20)]
    (bench.root / "data" / "clean.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pair = script(bench, OF_IDS, "{low}", "{high}", csv="{low}_{high}.csv", range="id")
    whole = replace(pair, cuts=(Cut(0, 2, "3-8"), Cut(2, 4, "8-21")))
    context = evaluator.context()
    for shard in whole.shards():
        evaluate(shard, context)
    assert [(r.low, r.high, r.positions) for r in records(evaluator)] == [(3, 8, (0, 2)), (8, 21, (2, 4))]
    assert scheduled(evaluator) == [[3, 8], [8, 21]]
    assert evaluate(whole, context).metrics == {"exact_match": 1.0}
    bench.data()
    with pytest.raises(PairError, match="range: id needs ids that are whole numbers; found 's0'"):
        evaluator(pair)


def scheduled(evaluator):
    (path,) = evaluator.context().paths.root.glob("shards/*/*/*/scheduler_config.json")
    return json.loads(path.read_text())["ranges"]


def test_the_ranges_of_a_launch_are_told(bench, evaluator):
    """scheduler_config.json has those of the last launch, though an earlier one with others had begun."""
    pair = program(bench, "exit", retries=0)
    for bounds in ((0, 3, 6), (0, 2, 4, 6)):
        cuts = tuple(Cut(low, high, f"{low}-{high}") for low, high in pairwise(bounds))
        shard = replace(pair, cuts=cuts).shards()[-1]
        with contextlib.suppress(PairError):
            evaluate(shard, evaluator.context())
        assert scheduled(evaluator) == [list(each) for each in pairwise(bounds)]


def test_all_rows_before_a_failure(bench, evaluator):
    """A program that fails after its last row costs a warning: nothing is missing."""
    with pytest.warns(match=r"(?s)all samples are done, though .* ended with exit code 4"):
        assert evaluator(script(bench, LATE)).metrics == {"exact_match": 1.0}


SLOW = """
import os, sys, time
out, state = sys.argv[1:]
with open(out + "/all.csv", "w") as file:
    print("id,answer", file=file)
    for i in range(6):
        print(f"s{i},{i}", file=file, flush=True)
        while i == 3 and not (os.path.exists(state) and "RUNNING_BATCH_COMPLETED=0" in open(state).read()):
            time.sleep(0.01)
"""


def test_state_while_it_runs(bench, evaluator):
    """Rows are counted as they appear: the program waits until the state says that four of its rows were seen."""
    state = evaluator.run / "state" / "letters" / "echo" / "clean.state"
    pair = script(bench, SLOW, "{state}", params={"state": str(state)})
    assert evaluator(pair).metrics == {"exact_match": 1.0}
    assert parse(state.read_text()).current_batch == 3
