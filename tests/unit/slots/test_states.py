"""What people are told about GPUs, and what the plugin concludes from the same."""

from __future__ import annotations

import pytest

from pytest_evalrun.slots.directory import Holder
from pytest_evalrun.slots.gpus import Gpu
from pytest_evalrun.slots.need import GB, Need
from pytest_evalrun.slots.states import (
    State,
    blocked_text,
    is_blocked,
    is_impossible,
    lacking_text,
    remedy,
    waiting_text,
)

ANN = Holder(123, "ann", None, 40)
NEED = Need(1, 40)


def state(index=0, free=80.0, *, total=80.0, holders=(), users=(), trouble=""):
    gpu = Gpu(str(index), index, f"GPU-{index}", "A100", round(total * GB), round(total * GB))
    return State(gpu, holders, None if free is None else round(free * GB), trouble, users)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        pytest.param(state(), "80.0 of 80.0 GB free", id="free"),
        pytest.param(state(free=3.1, total=79.1), "3.1 of 79.1 GB free", id="nobody known"),
        pytest.param(
            state(free=4, users=((456, 70 * GB), (7, 0))),
            "4.0 of 80.0 GB free, used by process 456 (70.0 GB) and process 7",
            id="used",
        ),
        pytest.param(
            state(holders=(ANN,), users=((124, GB),)),
            "leased by process 123 of ann, 80.0 of 80.0 GB free",
            id="its holder explains it",
        ),
        pytest.param(
            state(holders=(ANN, Holder(0, "", None))),
            "leased by process 123 of ann and another process, 80.0 of 80.0 GB free",
            id="shared",
        ),
        pytest.param(state(free=None, trouble="GPU is lost"), "does not answer: GPU is lost", id="lost"),
        pytest.param(state(free=None, total=0), "how much is free is unknown", id="unknown"),
    ],
)
def test_gpu_is_told_in_words(shown, text):
    """Who leases a GPU, what is free of how much, and who uses it where no lease explains it."""
    assert str(shown) == text


@pytest.mark.parametrize(
    ("shown", "need", "enough"),
    [
        pytest.param(state(free=40), NEED, True, id="just"),
        pytest.param(state(free=39.9), NEED, False, id="just not"),
        pytest.param(state(free=0), Need(1), True, id="none asked for"),
        pytest.param(state(free=None), Need(1), False, id="lost"),
        pytest.param(state(free=None, total=0), NEED, True, id="never known"),
        pytest.param(state(holders=(ANN,)), Need(1, 40, 2), True, id="beside one that has not loaded yet"),
        pytest.param(state(holders=(ANN,)), Need(1, 41, 2), False, id="not beside it once it has loaded"),
        pytest.param(state(holders=(ANN,), free=39), Need(1, 40, 2), False, id="it took more than it asked for"),
    ],
)
def test_memory_suffices(shown, need, enough):
    """What is free must suffice, and what sharers asked for is theirs even before they have taken it."""
    assert shown.is_enough(need) == enough


@pytest.mark.parametrize(
    ("need", "states", "blocked", "impossible"),
    [
        pytest.param(NEED, [state(), state(1, 0)], False, False, id="one is free"),
        pytest.param(NEED, [state(0, 0, holders=(ANN,)), state(1, 0)], False, False, id="a lease will end"),
        pytest.param(NEED, [state(0, 0), state(1, 0)], True, False, id="strangers"),
        pytest.param(NEED, [state(free=None)], True, False, id="lost"),
        pytest.param(NEED, [state(free=24, total=24, holders=(ANN,))], True, True, id="too small"),
        pytest.param(Need(2, 40), [state(), state(1, 24, total=24)], True, True, id="one too small"),
        pytest.param(Need(2), [state()], True, True, id="too few"),
        pytest.param(Need(1), [], True, True, id="none"),
    ],
)
def test_waiting_may_be_in_vain(need, states, blocked, impossible):
    """Waiting helps where leases will end; not against other processes, and never where there is not enough at all."""
    assert (is_blocked(need, states), is_impossible(need, states)) == (blocked, impossible)


def test_wait_is_told():
    """Who waits says for what, and how each GPU stands."""
    states = [state(holders=(ANN,)), state(1, 3.1, users=((456, 0),))]
    assert waiting_text(NEED, states) == (
        "waiting for 1 GPU with 40 GB free: GPU 0: leased by process 123 of ann, 80.0 of 80.0 GB free; "
        "GPU 1: 3.1 of 80.0 GB free, used by process 456"
    )


def test_wait_in_vain_is_told():
    """The end of a wait names the GPUs in the way, the processes on them, and the options; not the others."""
    text = blocked_text(Need(2, 40), [state(), state(1, 3, users=((456, 77 * GB),))], 60)
    assert text == (
        "2 GPUs with 40 GB free each could not be had for 60 s, and no lease explains it: "
        "GPU 1: 3.0 of 80.0 GB free, used by process 456 (77.0 GB); end what uses the memory, ask for less with "
        "--eval-min-gpu-memory or --eval-gpus-per-item, or name other GPUs with --eval-gpus"
    )


def test_lack_is_told_at_a_terminal():
    """What was asked, a line for each GPU, why there are no more, and the option to change."""
    states = [state(), State(Gpu("10", 10, "", "RTX 4090", 24 * GB, 0), (), 24 * GB)]
    assert lacking_text(Need(2, 40), states, "GPU 3 is left out: GPU is lost").splitlines() == [
        "needed: 2 GPUs with 40 GB free each; this host has:",
        "  GPU 0   A100      80.0 of 80.0 GB free",
        "  GPU 10  RTX 4090  24.0 of 24.0 GB free",
        "  (GPU 3 is left out: GPU is lost)",
        "ask for less with --eval-min-gpu-memory or --eval-gpus-per-item, or allow other GPUs with --eval-gpus",
    ]


@pytest.mark.parametrize(
    ("need", "states", "option"),
    [
        (NEED, [], "with --eval-gpus if they are only not found, or ask for none with --eval-gpus-per-item 0"),
        (Need(2), [state()], "ask for fewer with --eval-gpus-per-item"),
        (Need(1, 81), [state()], "ask for less with --eval-min-gpu-memory, or allow other GPUs"),
        (NEED, [state(free=0)], "ask for less with --eval-min-gpu-memory, or name other GPUs with --eval-gpus"),
        (NEED, [state(free=None)], "see to the GPUs that do not answer"),
        (Need(1), [state(free=None)], "name others with --eval-gpus"),
    ],
)
def test_remedy_fits_the_lack(need, states, option):
    """The option that is named is the one that helps."""
    assert option in remedy(need, states)
