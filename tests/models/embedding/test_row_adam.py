"""Row-wise Adam against torch's, and the debts of untouched rows against paying them step by step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distributed_il.models.embedding.row_adam import Rows, adam_update, catch_up

LEARNING_RATE = 1e-2


def packed_rows(n: int, dim: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    packed = torch.zeros(n, 3 * dim, dtype=dtype)
    packed[:, :dim] = torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype)
    return packed


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
def test_rows_touched_by_every_step_follow_torch_adam(
    dtype: torch.dtype, tolerance: float, weight_decay: float
) -> None:
    packed = packed_rows(5, 3, dtype)
    theirs = torch.nn.Parameter(packed[:, :3].clone())
    optimizer = torch.optim.Adam([theirs], lr=LEARNING_RATE, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(1)
    for step in range(1, 201):
        gradient = torch.randn(5, 3, generator=generator, dtype=torch.float64).to(dtype) * 10.0 ** (step % 5 - 4)
        theirs.grad = gradient.clone()
        optimizer.step()
        adam_update(Rows.of(packed), gradient, step=step, learning_rate=LEARNING_RATE, weight_decay=weight_decay)
        torch.testing.assert_close(packed[:, :3], theirs.detach(), rtol=tolerance, atol=tolerance)
    state = optimizer.state[theirs]
    torch.testing.assert_close(packed[:, 3:6], state["exp_avg"], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(packed[:, 6:], state["exp_avg_sq"], rtol=tolerance, atol=tolerance)


def test_the_first_step_by_hand() -> None:
    """w = 1, g = 2, λ = 0.5: g + λw = 2.5; m = 0.25, v = 0.00625; m̂ = 2.5, v̂ = 6.25, so w falls by γ·2.5/2.5."""
    packed = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    adam_update(
        Rows.of(packed), torch.tensor([[2.0]], dtype=torch.float64), step=1, learning_rate=0.1, weight_decay=0.5
    )
    assert packed[0].tolist() == pytest.approx([1 - 0.1, 0.25, 0.00625], rel=1e-8)


def test_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gradient \(4,\) does not fit rows \(4, 1\)"):
        adam_update(Rows.of(torch.zeros(4, 3)), torch.zeros(4), step=1, learning_rate=0.1, weight_decay=0.0)


def history(packed: Tensor, steps: int, weight_decay: float, gradient_scale: float) -> None:
    """Some real steps, so that the moments are those of training."""
    generator = torch.Generator().manual_seed(2)
    drift = torch.randn(packed.shape[0], packed.shape[1] // 3, generator=generator, dtype=torch.float64)
    for step in range(1, steps + 1):
        noise = torch.randn(drift.shape, generator=generator, dtype=torch.float64)
        adam_update(
            Rows.of(packed),
            gradient_scale * (drift + noise),
            step=step,
            learning_rate=LEARNING_RATE,
            weight_decay=weight_decay,
        )


def pay_step_by_step(packed: Tensor, after: int, gap: int, weight_decay: float) -> Tensor:
    """What a dense Adam does in `gap` steps without a gradient: one by one."""
    dense = packed.clone()
    nothing = torch.zeros(dense.shape[0], dense.shape[1] // 3, dtype=dense.dtype)
    for step in range(after + 1, after + gap + 1):
        adam_update(Rows.of(dense), nothing, step=step, learning_rate=LEARNING_RATE, weight_decay=weight_decay)
    return dense


@pytest.mark.parametrize("gap", [1, 10, 100, 1000])
@pytest.mark.parametrize("after", [200, 5000])
def test_momentum_is_paid_as_step_by_step(after: int, gap: int) -> None:
    """Without decay all is a geometric series; what differs is the bias correction, held at the first missed step."""
    packed = packed_rows(6, 4, torch.float64)
    history(packed, 100, 0.0, 0.1)
    dense = pay_step_by_step(packed, after, gap, 0.0)
    before = packed.clone()
    last_step = torch.full((6,), after, dtype=torch.int32)
    catch_up(Rows.of(packed), last_step, step=after + gap, learning_rate=LEARNING_RATE, weight_decay=0.0)
    moved = (dense - before)[:, :4].abs()
    torch.testing.assert_close(packed[:, 4:], dense[:, 4:], rtol=1e-10, atol=1e-18)  # moments: exactly
    error = (packed - dense)[:, :4].abs()
    # At step 201 √(1 − β₂ᵗ) still rises by 0.2 % a step, over some ten steps of momentum.
    assert float((error / moved).max()) < (0.03 if after == 200 else 1e-4)


@pytest.mark.parametrize("weight_decay", [1e-5, 1e-3])
@pytest.mark.parametrize("gap", [1, 10, 100, 1000])
def test_decay_is_paid_nearly_as_step_by_step(gap: int, weight_decay: float) -> None:
    packed = packed_rows(6, 4, torch.float64)
    history(packed, 100, weight_decay, 0.1)
    after = 5000
    dense = pay_step_by_step(packed, after, gap, weight_decay)
    before = packed.clone()
    last_step = torch.full((6,), after, dtype=torch.int32)
    catch_up(Rows.of(packed), last_step, step=after + gap, learning_rate=LEARNING_RATE, weight_decay=weight_decay)
    moved, error = (dense - before).abs().max(dim=0).values, (packed - dense).abs().max(dim=0).values
    # An approximation: within 4 % of the way that a dense Adam goes, and far closer where decay is weak.
    bound = 0.04 if weight_decay == 1e-3 else 5e-4
    assert float((error / moved)[:4].max()) < bound
    assert float((error / moved)[4:].max()) < bound


@pytest.mark.parametrize("gap", [1, 10, 100, 10_000, 1_000_000])
def test_a_row_that_was_never_touched_shrinks_towards_0_and_stays_finite(gap: int) -> None:
    packed = packed_rows(6, 4, torch.float32)
    before = packed.clone()
    catch_up(Rows.of(packed), torch.zeros(6, dtype=torch.int32), step=gap, learning_rate=1e-3, weight_decay=1e-5)
    assert torch.isfinite(packed).all()
    ratio = packed[:, :4] / before[:, :4]
    assert float(ratio.min()) >= 0
    assert float(ratio.max()) < 1
    # A dense Adam goes no further than γ a step on decay alone, as m̂/√v̂ = 1.
    assert float((before - packed)[:, :4].abs().max()) <= gap * 1e-3


def test_rows_pay_each_their_own_gap() -> None:
    packed = packed_rows(3, 4, torch.float64)
    history(packed, 50, 1e-3, 0.1)
    last_step = torch.tensor([50, 57, 60], dtype=torch.int32)
    alone = packed.clone()
    catch_up(Rows.of(packed), last_step, step=60, learning_rate=LEARNING_RATE, weight_decay=1e-3)
    for row in range(3):
        part = alone[row : row + 1]
        catch_up(Rows.of(part), last_step[row : row + 1], step=60, learning_rate=LEARNING_RATE, weight_decay=1e-3)
    assert torch.equal(packed, alone)


def test_rows_that_missed_nothing_stay_bit_for_bit() -> None:
    packed = packed_rows(6, 4, torch.float32)
    packed[:3] = 0.25
    before = packed.clone()
    catch_up(
        Rows.of(packed),
        torch.full((6,), 7, dtype=torch.int32),
        step=7,
        learning_rate=LEARNING_RATE,
        weight_decay=0.1,
    )
    assert torch.equal(packed, before)
