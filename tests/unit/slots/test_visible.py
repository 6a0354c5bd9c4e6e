"""CUDA_VISIBLE_DEVICES and --eval-gpus, on lists of GPUs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.slots.gpus import Gpu
from pytest_evalrun.slots.visible import chosen_gpus, unseen_tokens, visible_gpus

PART = Gpu("MIG-part", None, "MIG-part", "a part", 10, 10)
GPUS = [
    Gpu(str(index), index, uuid, "A100", 80, 80) for index, uuid in enumerate(["GPU-aa1", "GPU-aa2", "GPU-b", "GPU-c"])
]


def named(uuid):
    return PART if uuid == PART.uuid else None


def visible(listed, gpus=GPUS, count=4):
    return visible_gpus(listed, gpus, count, named)


def uuids(gpus):
    return [gpu.uuid for gpu in gpus]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param(None, ["GPU-aa1", "GPU-aa2", "GPU-b", "GPU-c"], id="not set"),
        pytest.param("", [], id="empty"),
        pytest.param("-1", [], id="minus one"),
        pytest.param("NoDevFiles", [], id="what Slurm says"),
        pytest.param("2,0", ["GPU-b", "GPU-aa1"], id="the caller's order"),
        pytest.param(" 2 , 0 ", ["GPU-b", "GPU-aa1"], id="blanks"),
        pytest.param("2,-1,0", ["GPU-b"], id="the list ends at minus one"),
        pytest.param("2,7,0", ["GPU-b"], id="and at an index that is not there"),
        pytest.param("2,,0", ["GPU-b"], id="and at nothing"),
        pytest.param("GPU-c,GPU-b", ["GPU-c", "GPU-b"], id="UUIDs"),
        pytest.param("GPU-aa2,1,GPU-b", ["GPU-aa2", "GPU-b"], id="one GPU by two names"),
        pytest.param("GPU-aa,0", [], id="the beginning of several UUIDs is not valid"),
        pytest.param("GPU-a", [], id="likewise"),
        pytest.param("MIG-part,0", ["MIG-part", "GPU-aa1"], id="a part"),
        pytest.param("MIG-pa,0", [], id="parts go by full name only"),
        pytest.param("0x1,0", [], id="no number"),
        pytest.param("²,0", [], id="no number that CUDA knows"),
    ],
)
def test_caller_s_list_is_read_as_cuda_does(listed, expected):
    """Indices, unique beginnings of UUIDs and parts are shown; the first entry that is not valid ends the list."""
    assert uuids(visible(listed)) == expected


def test_children_get_the_caller_s_words():
    """A GPU keeps the caller's name for it, so that it means the same to a child."""
    assert [gpu.token for gpu in visible("GPU-aa2, 3,MIG-part")] == ["GPU-aa2", "3", "MIG-part"]


def test_gpu_that_does_not_work_ends_nothing():
    """The driver counts it: what the caller names after it is still shown."""
    assert uuids(visible("0,1,2", gpus=[GPUS[0], GPUS[2]])) == ["GPU-aa1", "GPU-b"]


entries = st.sampled_from(["0", "1", "2", "3", "9", "-1", "", "GPU-aa1", "GPU-aa", "GPU-b", "GPU-", "MIG-part", "x"])


@given(st.lists(entries, max_size=6), st.lists(entries, max_size=3))
def test_list_is_shown_up_to_its_end(before, after):
    """No GPU is shown twice; each token alone means its GPU; what follows an entry that is not valid does not count."""
    shown = visible(",".join(before)) if before else []
    assert len({gpu.key for gpu in shown}) == len(shown)
    assert all(uuids(visible(gpu.token)) == [gpu.uuid] for gpu in shown)
    assert visible(",".join([*before, "x", *after])) == shown


@pytest.mark.parametrize(
    ("only", "expected"),
    [("1", ["1"]), ("3,0", ["3", "0"]), ("GPU-b", ["2"]), ("MIG-part", ["MIG-part"]), (" 1 , 2 ", ["1", "2"])],
)
def test_gpus_are_chosen_by_index_or_uuid(only, expected):
    """--eval-gpus takes indices, beginnings of UUIDs, and parts."""
    assert [gpu.token for gpu in chosen_gpus(only, GPUS, GPUS, None, named)] == expected


def test_choice_keeps_the_caller_s_words():
    """An index means NVML's, whatever the caller's list calls that GPU."""
    shown = visible("GPU-c,1")
    assert [gpu.token for gpu in chosen_gpus("1,3", shown, GPUS, "GPU-c,1", named)] == ["1", "GPU-c"]


@pytest.mark.parametrize(
    ("only", "listed", "complaint"),
    [
        pytest.param("9", None, r"there is no GPU 9; this host has GPU 0 \(GPU-aa1, A100\), GPU 1 ", id="not there"),
        pytest.param(
            "0", "1,2", "0 is not among the GPUs of CUDA_VISIBLE_DEVICES=1,2, which are GPU 1 .*GPU 2 ", id="hid"
        ),
        pytest.param("MIG-part", "1", "there is no GPU MIG-part", id="a part that is not shown"),
        pytest.param("GPU-aa", None, "GPU-aa may mean any of GPU 0 .*, GPU 1 ", id="ambiguous"),
        pytest.param("0,GPU-aa1", None, "GPU 0 is named twice", id="twice"),
        pytest.param("", None, "'' is neither an index", id="empty"),
        pytest.param("0,cuda:1", None, "'cuda:1' is neither an index, nor a UUID", id="another language"),
        pytest.param("-1", None, "'-1' is neither", id="minus one"),
    ],
)
def test_wrong_choice_is_refused(only, listed, complaint):
    """What --eval-gpus names must be there and shown; the message says what is."""
    with pytest.raises(ConfigError, match=f"--eval-gpus {re.escape(only)}: {complaint}"):
        chosen_gpus(only, visible(listed), GPUS, listed, named)


def test_choice_is_believed_where_no_driver_can_be_asked():
    """Without a driver each entry is taken as it is, within the caller's list."""
    assert unseen_tokens("2, GPU-x", None) == ["2", "GPU-x"]
    assert unseen_tokens("2", "0,2") == ["2"]
    with pytest.raises(ConfigError, match="1 is not in CUDA_VISIBLE_DEVICES=0,2"):
        unseen_tokens("1", "0,2")
    with pytest.raises(ConfigError, match="0 is named twice"):
        unseen_tokens("0,0", None)
