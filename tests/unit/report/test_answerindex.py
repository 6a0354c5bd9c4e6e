"""Single answers of large files, without the others."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.report.answerindex import AnswerIndex, LineIndex


def lines_of(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def answer(index, generation=None, **more):
    return {"index": index, "id": f"s{index}"} | ({} if generation is None else {"generation": generation}) | more


def test_any_line_is_read_alone(tmp_path):
    """Whatever their order in the file; of one answer the last line counts, and damage costs its own line."""
    path = lines_of(tmp_path / "a", answer(2, x=1), answer(0), answer(2, x=2))
    with path.open("a") as file:
        file.write('no json\n{"index": 3')
    index = LineIndex(path)
    assert list(index.numbers()) == [0, 2]
    assert [line for _, line in index.lines()] == [answer(0), answer(2, x=2)]
    assert index.size == 24


def test_scores_stand_beside_their_predictions(tmp_path):
    """In the order that is asked for; one without scores has an empty line."""
    predictions = LineIndex(lines_of(tmp_path / "a", *(answer(i, g) for i in range(3) for g in range(2))))
    scores = LineIndex(lines_of(tmp_path / "b", answer(2, 1, top1=1), answer(0, 0, top1=0)))
    index = AnswerIndex(predictions, scores)
    found = list(index.pairs([5, 0, 1, 99]))
    assert found == [(answer(2, 1), answer(2, 1, top1=1)), (answer(0, 0), answer(0, 0, top1=0)), (answer(0, 1), {})]
    assert [number for number, _ in index.scored()] == [0, 5]


def test_scores_of_what_was_not_predicted_yet_are_nobodys(tmp_path):
    """While a pair is predicted anew, its scores are those of before."""
    predictions = LineIndex(lines_of(tmp_path / "a", answer(0), answer(2)))
    scores = LineIndex(lines_of(tmp_path / "b", *(answer(i, top1=1) for i in range(5))))
    assert [number for number, _ in AnswerIndex(predictions, scores).scored()] == [0, 2]


def test_missing_file_has_no_lines(tmp_path):
    """A pair that was not scored yet."""
    index = LineIndex(tmp_path / "none")
    assert (list(index.lines()), index.size) == ([], 0)


def test_file_that_was_written_anew_is_noticed(tmp_path):
    """Nobody is given the line of another answer for the one that he asked for."""
    path = lines_of(tmp_path / "a", answer(0), answer(1))
    index = LineIndex(path)
    lines_of(path, answer(7, text="long enough to stand where the other began"), answer(1))
    with pytest.raises(ValueError):
        list(index.lines())
