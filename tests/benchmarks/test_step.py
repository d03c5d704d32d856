"""The benchmark of steps: the dense way is the same step, and every figure comes out under its name."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
import torch
from random_batches import random_batch

from benchmarks import step
from benchmarks.common.peak_memory import PeakMemory
from benchmarks.common.result import Figure
from benchmarks.steps.dense_way import DenseWay
from benchmarks.steps.plain_cases import PlainCase
from benchmarks.steps.step_cases import Size, StepCase
from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

CPU = torch.device("cpu")


@pytest.mark.parametrize("alpha", [0.05, -0.05])
def test_the_dense_way_takes_the_same_inverse_step(alpha: float) -> None:
    """A first step: Adam's moments are zero, so that the dense one leaves untouched rows alone too."""
    learner = Learner(
        ModelConfig(backbone="neumf", embedding_dim=4, init_std=0.3, dtype="float64"),
        OptimizerConfig(learning_rate=1e-2),
        num_users=20,
        num_items=30,
        seed=1,
        collectives=LocalCollectives(),
        device=CPU,
    )
    dense = DenseWay(learner, dual_learning_rate=abs(alpha))
    batch = random_batch(np.random.default_rng(2), rows=64, num_users=20, num_items=30, rate=1)
    if alpha < 0:  # other labels, so that the other candidate wins
        batch.labels.mul_(-1).add_(1)
    report = make_method(InverseGradientConfig(dual_learning_rate=abs(alpha))).step(StepExecutor(learner), batch)
    assert report.decision is not None
    assert dense.inverse_step(batch) == report.decision.choice
    torch.testing.assert_close(dense.model.users.weight.detach(), learner.users.weight, rtol=0, atol=1e-7)
    torch.testing.assert_close(dense.model.items.weight.detach(), learner.items.weight, rtol=0, atol=1e-7)
    for ours, theirs in zip(learner.tower.parameters, dense.model.backbone.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0, atol=1e-7)


def test_bytes_of_rows_by_hand() -> None:
    case = StepCase(Size("gmf", 10_000, 1024), CPU)
    batch = case.batches["inverse"][3]
    assert batch.unlabelled is not None
    case.batches = {"plain": [case.batches["plain"][3]], "inverse": [batch]}
    users, items = batch.user_ids.unique().numel(), batch.item_ids.unique().numel()
    pair_items = batch.unlabelled.item_ids.unique().numel()
    # Rows of 32 floats: w, m and v read and written for labelled rows, w read for those of the pairs.
    assert case.row_bytes("plain") == (users + items) * 32 * 4 * 6
    assert case.row_bytes("inverse") == (users + items) * 32 * 4 * 6 + (users + pair_items) * 32 * 4


def test_names_of_sizes() -> None:
    assert Size("gmf", 170_000, 1024).label == "170k"
    assert Size("gmf", 20_000_000, 8192).label == "20m_batch_8192"


def test_all_figures_of_a_tiny_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def stay_eager(case: StepCase | PlainCase) -> None:
        case._fused = None

    monkeypatch.setattr(StepCase, "compile", stay_eager)
    monkeypatch.setattr(PlainCase, "compile", stay_eager)
    monkeypatch.setattr(step, "_memory", lambda *_: iter([("gmf_working_memory_2k_bytes", Figure([1.0]))]))
    rows = (("gmf", (1000, 2000)),)
    plan = step.Plan(
        rows=rows, batches=(1024,), steps=1, repeats=2, dense_rows=(2000,), dense_repeats=1,
        over_none=("bias_mf",), over_none_rows=2000,
    )  # fmt: skip
    figures = step.measure(plan)
    for name, mode in step.OVER_NONE_MOST:
        ours, none = (figures[f"bias_mf_{kind}_{mode}_2k_ms"].repeats for kind in (name, "none"))
        expected = [above / below for above, below in zip(ours, none, strict=True)]
        assert figures[f"bias_mf_{name}_over_none_{mode}"].repeats == expected
    assert figures["gmf_dense_over_ours_2k"].repeats
    assert figures["gmf_working_memory_2k_bytes"].median == 1
    for mode in ("eager", "compiled"):
        inverse, plain = (figures[f"gmf_{kind}_{mode}_2k_ms"] for kind in ("inverse", "plain"))
        expected = [above / below for above, below in zip(inverse.repeats, plain.repeats, strict=True)]
        assert figures[f"gmf_ig_over_plain_{mode}_2k"].repeats == expected
        small = figures[f"gmf_plain_{mode}_1k_ms"].repeats
        expected = [above / below for above, below in zip(plain.repeats, small, strict=True)]
        assert figures[f"gmf_plain_{mode}_2k_over_1k"].repeats == expected
        rates = figures[f"gmf_plain_{mode}_2k_rows_per_s"].repeats
        assert rates == pytest.approx([1024e3 / sample for sample in plain.repeats])


def test_targets_are_for_the_usual_size_alone() -> None:
    figures = {
        "gmf_ig_over_plain_eager": Figure([2.0], at_most=2.6),
        "gmf_ig_over_plain_compiled": Figure([1.7], at_most=1.6),
        "gmf_ig_over_plain_eager_10k": Figure([9.0]),
    }
    assert step.answer(figures) == (
        "An inverse step at 170,000 rows costs, GMF eager: 2.00 plain steps; GMF compiled: 1.70 plain steps. "
        "1 of 2 targets are met; missed: gmf_ig_over_plain_compiled (1.7)."
    )


def test_peak_memory_counts_what_was_let_go_again() -> None:
    with PeakMemory(CPU) as memory:
        block = mmap.mmap(-1, 2**27)  # fresh memory, which no allocator had before
        block.write(bytes(2**27))
        block.close()
    assert memory.bytes > 120 * 2**20
    with PeakMemory(CPU) as memory:
        pass
    assert memory.bytes < 2**20
