"""The dense way in a process of its own: it steps when asked, in the environment that it was given."""

from __future__ import annotations

import os

import pytest

from benchmarks.steps.dense_process import DenseProcess, plain_environment
from benchmarks.steps.step_cases import Size
from distributed_il.core.process import process_environment


def test_the_plain_environment_lacks_our_settings_and_keeps_threads_and_all_else() -> None:
    whole = process_environment(1) | {"PATH": "/bin"}
    assert plain_environment(whole) == {"PATH": "/bin", "OMP_NUM_THREADS": "1"}


def test_a_process_steps_when_asked_and_leaves_at_the_end() -> None:
    with DenseProcess(Size("gmf", 1000, 64), "cpu", plain_environment(os.environ)) as dense:
        assert dense.step() > 0
        assert dense.step() > 0


def test_a_process_that_fails_is_no_endless_wait() -> None:
    with pytest.raises(RuntimeError, match="ended with code 1"):
        DenseProcess(Size("gmf", 1000, 64), "nowhere", plain_environment(os.environ))
