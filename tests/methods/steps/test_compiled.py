"""Compiled steps against eager ones, and what happens where nothing can be compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_batches import random_batch, weighted_batch
from small_learner import small_learner

from distributed_il.core.method_config import InverseGradientConfig, OrdinalConfig
from distributed_il.methods import Method, make_method
from distributed_il.methods.protocol import extras_of
from distributed_il.methods.steps import compiled
from distributed_il.methods.steps.compiled import CompiledPasses
from distributed_il.methods.steps.executor import StepExecutor

USERS, ITEMS = 40, 50

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules


LEARNED = make_method(OrdinalConfig(half_width="learned"))


def make_executor(
    backbone: str = "gmf", missed_steps: str = "skip", *, factors: bool = False, method: Method | None = None
) -> StepExecutor:
    learner = small_learner(
        USERS,
        ITEMS,
        model={"backbone": backbone},
        optimizer={"missed_steps": missed_steps},
        factors=factors,
        method_extras=extras_of(method) if method else None,
    )
    return StepExecutor(learner)


def refuse(message: str) -> None:
    raise AssertionError(message)


IG = make_method(InverseGradientConfig(dual_learning_rate=3e-3))


def train_alike(
    ours: StepExecutor,
    theirs: StepExecutor,
    *,
    rows: tuple[int, ...],
    method: Method = IG,
    rates: tuple[int, ...] = (0, 1, 2),
    weights: bool = False,
) -> set[int]:
    """Labelled and inverse steps by turns on both; returns the decisions, which must agree like all else."""
    rng = np.random.default_rng(3)
    choices: set[int] = set()
    for step, count in enumerate(rows):
        batch = random_batch(rng, rows=count, num_users=USERS, num_items=ITEMS, rate=rates[step % len(rates)])
        batch = weighted_batch(batch, rng) if weights else batch
        ours_report, theirs_report = method.step(ours, batch), method.step(theirs, batch)
        assert float(ours_report.loss_sum) == pytest.approx(float(theirs_report.loss_sum), rel=1e-12)
        if theirs_report.decision is not None:
            assert ours_report.decision is not None
            assert ours_report.decision.choice == theirs_report.decision.choice
            assert ours_report.decision.losses == pytest.approx(theirs_report.decision.losses, abs=1e-12)
            assert ours_report.unlabelled_logits is not None
            assert theirs_report.unlabelled_logits is not None
            torch.testing.assert_close(ours_report.unlabelled_logits, theirs_report.unlabelled_logits)
            choices.add(theirs_report.decision.choice)
    ours, theirs = ours.learner, theirs.learner
    assert ours.step == theirs.step == len(rows)
    for name in ("users", "items", "tower"):
        torch.testing.assert_close(getattr(ours, name).packed, getattr(theirs, name).packed, rtol=0, atol=1e-10)
    assert torch.equal(ours.users.last_step, theirs.users.last_step)
    assert torch.equal(ours.items.last_step, theirs.items.last_step)
    return choices


# Batches of one row are taken eagerly in between; all others go through the same compiled functions.
ROWS = (64, 64, 60, 50, 64, 63, 1, 1, 1, 64, 70, 45, 64, 64, 64, 40, 50, 60)


@pytest.mark.parametrize(
    ("backbone", "missed_steps", "factors", "weights"),
    [("deepfm", "skip", False, False), ("bias_mf", "catch_up", True, True)],
)
def test_fused_steps_equal_eager_ones(backbone: str, missed_steps: str, factors: bool, weights: bool) -> None:
    compiled = make_executor(backbone, missed_steps, factors=factors)
    compiled.compile(refuse, batch_size=64)
    assert compiled.fused is not None
    eager = make_executor(backbone, missed_steps, factors=factors)
    assert len(train_alike(compiled, eager, rows=ROWS, weights=weights)) >= 2


def test_compiled_passes_equal_eager_ones() -> None:
    """What several ranks run between their exchanges."""
    compiled = make_executor()
    compiled.passes = CompiledPasses(refuse)
    assert len(train_alike(compiled, make_executor(), rows=ROWS)) >= 2


def test_fused_ordinal_steps_with_factors_equal_eager_ones() -> None:
    compiled, eager = (make_executor("bias_mf", "catch_up", factors=True, method=LEARNED) for _ in range(2))
    compiled.compile(refuse, batch_size=64)
    train_alike(compiled, eager, rows=ROWS, method=LEARNED, rates=(2,))


def test_compiled_ordinal_passes_equal_eager_ones() -> None:
    compiled, eager = (make_executor(method=LEARNED) for _ in range(2))
    compiled.passes = CompiledPasses(refuse)
    train_alike(compiled, eager, rows=ROWS, method=LEARNED, rates=(2,), weights=True)


@pytest.mark.parametrize("with_ranks", [False, True])
def test_where_nothing_can_be_compiled_the_step_says_so_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, with_ranks: bool
) -> None:
    def no_compiler(function: object) -> object:
        raise torch._dynamo.exc.Unsupported("no C++ compiler\nand more lines")

    monkeypatch.setattr(compiled, "_compile", no_compiler)
    said: list[str] = []
    executor = make_executor()
    if with_ranks:
        executor.passes = CompiledPasses(said.append)
    else:
        executor.compile(said.append, batch_size=64)
    train_alike(executor, make_executor(), rows=ROWS[:6])
    assert len(said) == 3  # one for each function that could not be compiled
    assert all(message == "the step is not compiled, and slower for it: no C++ compiler" for message in said)
