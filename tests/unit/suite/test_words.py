"""The words of a .run_config that are no settings: what became of them, and which were meant."""

from __future__ import annotations

import pytest

from pytest_evalrun.suite.words import MOST_LINES, strange_words

PROGRAM = """\
adapter: command
command: m {dataset}
results: {csv: out.csv}
discover: {model_file_ext: .bin, in_subdir: in}
"""
PASSED = "passed on to the program as environment"
VOID = "without effect: only programs are given an environment"
MEANT = {
    "a slip of the pen": ("MAX_BATCHSIZE=4", "no setting; {}; did you mean MAX_BATCH_SIZE?"),
    "half a word": ("BATCH_SIZE=4", "no setting; {}; did you mean MAX_BATCH_SIZE?"),
    "in small letters": ("timeuot=4", "no setting; {}; did you mean TIMEOUT?"),
    "of an environment": ("CLEANUP_SHARED_MODEL=1", "no setting; {}; did you mean CLEANUP_SHARED_MODELS?"),
    "a mapping": ("GATES=top1", "no setting; {}; `gates` is for evalrun.yaml"),
    "of the whole suite": ("MODEL_FILE_EXT=.pt", "no setting; {}; `model_file_ext` is for evalrun.yaml"),
    "of its own": ("THRESHOLD=0.5", "no setting; {}"),
    "long used by scripts": ("COMMAND=fast", "no setting; {}"),
}


@pytest.mark.parametrize(("text", "told"), MEANT.values(), ids=MEANT)
def test_a_word_that_is_no_setting_is_told_with_its_place(tree, text, told):
    """With what became of it, and with the word that was meant where one is near; a model in Python gets none."""
    tree.write({"a/d1/.run_config": f"# mine\n{text}\n"})
    line = f"evals/a/d1/.run_config:2: {text.partition('=')[0]}: {told}"
    assert strange_words(tree.discover().pairs) == [line.format(VOID)]
    assert strange_words(tree(PROGRAM).discover().pairs) == [line.format(PASSED)]


def test_words_that_are_accepted_are_no_news(tree):
    """Settings, and the seed's own variables."""
    tree.write({"a/.run_config": "max_batch_size=4\nTIMEOUT=9\nRUN_STATE_NAME=.state\nREMOTE_TASK_HOME=/data\n"})
    assert strange_words(tree(PROGRAM).discover().pairs) == []


def test_words_are_told_once(tree):
    """However many pairs and files say them, and those that nobody meant otherwise share a line."""
    tree(PROGRAM).write({"a/.run_config": "ALPHA=1\nRETRYS=2\nBETA=3\n", "group/b/.run_config": "RETRYS=1\n"})
    assert strange_words(tree.discover().pairs) == [
        f"evals/a/.run_config:2: RETRYS (and in 1 more): no setting; {PASSED}; did you mean RETRIES?",
        f"evals/a/.run_config:1: ALPHA, BETA: no settings; {PASSED}",
    ]


def test_many_slips_do_not_fill_the_terminal(tree):
    """The rest is a number."""
    tree.write({"a/.run_config": "".join(f"TIMEOUT{letter}=1\n" for letter in "ABCDEFGHIJKLM")})
    assert strange_words(tree.discover().pairs)[MOST_LINES:] == ["and 3 more like these"]
