"""What a pair asks for."""

from __future__ import annotations

import pytest

from pytest_evalrun.slots.need import Need, need_of
from pytest_evalrun.suite.settings import Settings


@pytest.mark.parametrize(
    ("need", "text"),
    [
        (Need(1), "1 GPU"),
        (Need(2), "2 GPUs"),
        (Need(1, 40.0), "1 GPU with 40 GB free"),
        (Need(4, 0.5), "4 GPUs with 0.5 GB free each"),
    ],
)
def test_need_in_words(need, text):
    """A need reads as a person would say it."""
    assert str(need) == text


def test_pair_without_gpus_needs_nothing():
    """Where no GPU is asked for, nothing else that is said of GPUs counts."""
    assert not need_of(Settings(min_gpu_memory=40, workers_per_gpu=4))
    assert need_of(Settings(min_gpu_memory=40, workers_per_gpu=4)) == Need()


def test_need_is_what_the_settings_say():
    """GPUs, memory and sharing come from the pair's settings."""
    assert need_of(Settings(gpus=2, min_gpu_memory=40, workers_per_gpu=3)) == Need(2, 40, 3)
