"""Suites on boards, real ones: what a board answers is what this machine would, however it is asked; nothing stays."""

from __future__ import annotations

import pytest
from boardsuite import BoardSuite

pytestmark = pytest.mark.measured

WHOLE = """\
m=$(cat "$1")
{ echo id,answer; for f in "$2"/*; do echo "${f##*/},$(($(cat "$f") * m))"; done; } > "$3/answers.csv"
"""
# Its range by position in the directory, as programs do that were written for a directory that is all there.
RANGE = """\
m=$(cat "$1") n=0
echo id,answer > "$3/answers_$4_$5.csv"
for f in "$2"/*; do
    [ "$n" -ge "$4" ] && [ "$n" -lt "$5" ] && echo "${f##*/},$(($(cat "$f") * m))" >> "$3/answers_$4_$5.csv"
    n=$((n + 1))
done
exit 0
"""
SERVER = """\
import json, sys

for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "load":
        factor = int(open(message["model"]).read())
        print("so many words", file=sys.stderr, flush=True)
        answer = {"type": "ready"}
    elif message["type"] == "predict":
        answers = [int(open(sample["input"]).read()) * factor for sample in message["batch"]]
        answer = {"type": "predictions", "predictions": answers}
    else:
        break
    print(json.dumps(answer), flush=True)
"""
WAYS = {
    "batch": {},
    "pair": {"ask": "pair", "command": "sh whole.sh {model} {dataset} {output}"},
    "pair in shards": {
        "ask": "pair",
        "command": "sh range.sh {model} {dataset} {output} {low} {high}",
        "results": {"csv": "answers_{low}_{high}.csv", "prediction": "answer"},
        "shards": 3,
    },
    "server": {"ask": "server", "command": "python3 serve.py", "results": None},
}


def ways(suite: BoardSuite) -> BoardSuite:
    for name, text in (("whole.sh", WHOLE), ("range.sh", RANGE), ("serve.py", SERVER)):
        (suite.evals / name).write_text(text)
    return suite


def times(factor: int, samples: int = 6) -> dict[str, str]:
    return {f"{number}.txt": str(number * factor) for number in range(samples)}


@pytest.mark.parametrize("way", WAYS)
def test_a_board_answers_what_this_machine_does(tmp_path, boards, way):
    """Every way of asking gives the same predictions, leaves only cached models, and is reused without a board."""
    suite = ways(BoardSuite(tmp_path / "w", boards(2), models=2, datasets=2))
    suite.write(**WAYS[way], env={"CLEANUP_SHARED_MODELS": "0"})
    ran = suite.pytest("-n2")
    assert ran.code == 0, ran
    there = {(m, d): suite.predictions(m, d) for m in ("m1", "m2") for d in "ab"}
    assert there == {(m, d): times(int(m[1])) for m, d in there}
    assert suite.left() == []
    assert {path.name for board in suite.boards for path in (board.home / ".model_cache").glob("[!.]*")} == {
        "m1_model.txt",
        "m2_model.txt",
    }
    for board in suite.boards:
        board.stop()
    again = suite.pytest()
    assert again.code == 0, again
    assert again.output.count("(reused") + again.output.count("cached") >= 4, again
    here = suite.pytest("--eval-set", "adapter=command", "--eval-set", "devices=[]", "--eval-run", "new")
    assert here.code == 0, here
    assert {(m, d): suite.predictions(m, d) for m, d in there} == there


# What goes through two shells is quoted for the second.
THERE = """\
set -eu
there() {{ ssh -p "$EVALRUN_PORT" -i {key} -o UserKnownHostsFile={known} -o BatchMode=yes \\
    "$EVALRUN_USER@$EVALRUN_HOST" "$@"; }}
work=$(printf %q "$REMOTE_WORK_DIR") model=$(printf %q "$SHARED_MODEL_PATH")
"""
OWN = f"""\
IN_SUBDIR=in
MODEL_FILE_EXT=.txt
{THERE}\
[ "$(cat "$MODEL_DIR"/m.txt)" = "$(there "cat $model")" ]
tar -cf - -C "$1" in | there "tar -xf - -C $work"
there "cd $work/in && m=\\$(cat $model) && echo id,answer &&
    for f in *; do echo \\$f,\\$((\\$(cat \\$f) * m)); done" > "$OUT_SUBDIR/answers.csv"
echo "by $EVALRUN_DEVICE"
"""
EACH = f"""\
{THERE}\
echo id,answer > "$2/answers.csv"
while IFS= read -r f; do
    n=$(there "cd $work && cat > n && echo \\$((\\$(cat n) * \\$(cat $model)))" < "$f")
    echo "${{{{f##*/}}}},$n" >> "$2/answers.csv"
done < "$1"
"""
ODD = 'it\'s a $(touch pwned) `touch pwned` "day"'


def test_a_script_that_does_its_own_ssh(tmp_path, boards):
    """task_run.sh's own shape: the model is there before its eval.sh runs, the work directory is and goes after it."""
    (board,) = boards()
    suite = BoardSuite(tmp_path / "w", [board], models=0, datasets=0)
    (suite.evals / "eval.sh").write_text(OWN.format(key=board.key, known=board.known_hosts))
    for task, factor in (("double", 2), ("group/triple", 3), (ODD, 4)):
        place = suite.evals / task
        (place / "a" / "in").mkdir(parents=True)
        (place / "m.txt").write_text(f"{factor}\n")
        for number in range(6):
            (place / "a" / "in" / f"{number}.txt").write_text(f"{number}\n")
    only = {"adapter": "command", "remote": True, "script": "eval.sh", "discover": {}}
    rest = {"ask": "pair", "command": None, "models": None, "datasets": None, "format": None}
    suite.write(**only, **rest)
    ran = suite.pytest()
    assert ran.code == 0, ran
    assert suite.predictions("double") == times(2)
    assert suite.predictions("group_triple") == times(3)
    (odd,) = {path.parent.name for path in suite.run.rglob("a.jsonl")} - {"double", "group_triple"}
    assert suite.predictions(odd) == times(4)
    assert not [*tmp_path.rglob("pwned")]
    assert "by b1" in (suite.run / "logs" / "infer" / "evals" / "double" / "a.log").read_text()
    assert suite.left() == []
    assert not list((board.home / ".model_cache").glob("*.txt"))


def test_a_script_that_does_its_own_ssh_batch_by_batch(tmp_path, boards):
    """Each batch finds the model and one work directory on the board that was leased."""
    suite = BoardSuite(tmp_path / "w", boards(2), models=2)
    (suite.evals / "each.sh").write_text(
        EACH.format(key=suite.boards[0].key, known=tmp_path / "known").replace("-i ", f"-i {suite.boards[1].key} -i ")
    )
    (tmp_path / "known").write_text("".join(board.known_hosts.read_text() for board in suite.boards))
    suite.write(adapter="command", remote=True, command="bash each.sh {batch} {output}")
    ran = suite.pytest("-n2")
    assert ran.code == 0, ran
    assert [suite.predictions(model) for model in ("m1", "m2")] == [times(1), times(2)]
    assert suite.left() == []


REFUSING = """\
        if any("e" in open(sample["input"]).read() for sample in message["batch"]):
            print(json.dumps({"type": "error", "message": "an e"}), flush=True)
            continue
"""


@pytest.mark.parametrize("ask", ["batch", "server"])
def test_a_sample_that_cannot_be_answered_costs_itself_only(tmp_path, boards, ask):
    """Its batch is split until it stands alone, while others are on their way: none of them gets another's answers."""
    suite = ways(BoardSuite(tmp_path / "w", boards(), samples=24))
    (suite.evals / "a" / "5.txt").write_text("five\n")
    (suite.evals / "a" / "16.txt").write_text("sixteen\n")
    check = 'grep -q e $(cat "$2") && exit 1\n'
    (suite.evals / "ask.sh").write_text((suite.evals / "ask.sh").read_text().replace("m=$", f"{check}m=$"))
    (suite.evals / "serve.py").write_text(SERVER.replace("        answers =", f"{REFUSING}        answers ="))
    suite.write(**WAYS[ask], max_batch_size=4, retries=0, max_failed=2)
    ran = suite.pytest()
    assert ran.code == 0, ran
    good = {name: answer for name, answer in times(1, 24).items() if name not in ("5.txt", "16.txt")}
    assert suite.predictions() == good
    assert suite.left() == []
