"""The ordinal loss by hand, in 50 digits, and by its identities."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distributed_il.methods.losses import log_loss
from distributed_il.methods.ordinal_loss import (
    clear_logit,
    ordinal_log_loss,
    raw_logit,
    unclear_constant,
    unclear_loss,
)

WIDTHS = (1e-3, 0.25, 0.5, 1.46, 8.0, 60.0)
LOGITS = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30)


def hard_logits() -> Tensor:
    tails, small = torch.logspace(-2, 4, 160, dtype=torch.float64), torch.logspace(-300, -2, 60, dtype=torch.float64)
    edges = torch.tensor([0.25, 0.5, 1.46, 8.0, 36.7, 88.8, 103.9, 708.4, 745.2], dtype=torch.float64)
    positive = torch.cat([tails, small, edges])
    return torch.cat([positive, -positive, torch.zeros(1, dtype=torch.float64)])


def softplus(value: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log1p(mpmath.exp(value))


def relative_error(got: float, exact: mpmath.mpf) -> float:
    if abs(exact) < torch.finfo(torch.float64).tiny:
        return 0.0 if abs(got) <= torch.finfo(torch.float64).tiny else math.inf
    return float(abs(mpmath.mpf(got) - exact) / abs(exact))


@pytest.mark.parametrize("width", WIDTHS)
def test_losses_against_50_digits(width: float) -> None:
    logits = hard_logits().requires_grad_()
    ones, zeros = torch.ones_like(logits), torch.zeros_like(logits)
    losses = [
        ordinal_log_loss(logits, ones, width),
        ordinal_log_loss(logits, zeros, width),
        unclear_loss(logits, width),
    ]
    slopes = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in losses]
    with mpmath.workdps(50):
        t = mpmath.mpf(width)
        for row, logit in enumerate(logits.tolist()):
            x = mpmath.mpf(logit)
            exact = [softplus(t - x), softplus(t + x), softplus(-x - t) + softplus(x - t)]
            # x ± t is rounded once, which e^(x ± t) multiplies by its size.
            allowed = (8 + abs(logit) + width) * torch.finfo(torch.float64).eps
            for loss, value in zip(losses, exact, strict=True):
                assert relative_error(loss[row].item(), value) <= allowed, logit
            steep = [-1 / (1 + mpmath.exp(x - t)), 1 / (1 + mpmath.exp(-x - t))]
            steep.append(1 / (1 + mpmath.exp(t - x)) - 1 / (1 + mpmath.exp(x + t)))
            for slope, value in zip(slopes, steep, strict=True):
                assert abs(slope[row].item() - float(value)) <= 4 * torch.finfo(torch.float64).eps, logit


@pytest.mark.parametrize("width", WIDTHS)
def test_the_served_logit_against_50_digits(width: float) -> None:
    logits = hard_logits()
    served = clear_logit(logits, width)
    with mpmath.workdps(400):  # the smallest logits lie at 1e-300
        t = mpmath.mpf(width)
        for row, logit in enumerate(logits.tolist()):
            x = mpmath.mpf(logit)
            assert relative_error(served[row].item(), softplus(x + t) - softplus(t - x)) <= 1e-15, logit


def test_by_hand() -> None:
    # t = log 2: s(t − x) at x = 0 is log(1 + 2) = log 3, and so is s(t + x); s(−t) = log(1 + ½) = log 1.5, twice.
    zero, width = torch.zeros(1, dtype=torch.float64), math.log(2)
    assert ordinal_log_loss(zero, torch.ones(1), width).item() == pytest.approx(math.log(3), rel=1e-15)
    assert ordinal_log_loss(zero, torch.zeros(1), width).item() == pytest.approx(math.log(3), rel=1e-15)
    assert unclear_loss(zero, width).item() == pytest.approx(2 * math.log(1.5), rel=1e-15)
    # At x = log 2: P(positive) = σ(0) = 1/2, P(negative) = σ(−log 4) = 1/5, so the odds of a clear one are 5 : 2.
    assert clear_logit(torch.tensor([math.log(2)], dtype=torch.float64), width).item() == pytest.approx(math.log(2.5))


@pytest.mark.parametrize("width", [0.1, 0.5, 3.0])
def test_the_three_probabilities_sum_to_one(width: float) -> None:
    logits = torch.linspace(-30, 30, 401, dtype=torch.float64)
    unclear = unclear_loss(logits, width) + unclear_constant(torch.tensor(width, dtype=torch.float64))
    parts = [
        ordinal_log_loss(logits, torch.ones(401), width),
        ordinal_log_loss(logits, torch.zeros(401), width),
        unclear,
    ]
    torch.testing.assert_close(sum(torch.exp(-part) for part in parts), torch.ones(401, dtype=torch.float64))


@given(LOGITS)
def test_identities(logits: list[float]) -> None:
    x = torch.tensor(logits, dtype=torch.float64)
    # t = 0 leaves no room between the cut points: the log loss.
    labels = (x > 1).double()
    torch.testing.assert_close(ordinal_log_loss(x, labels, 0.0), log_loss(x, labels))
    torch.testing.assert_close(unclear_loss(-x, 0.7), unclear_loss(x, 0.7))
    assert torch.equal(clear_logit(-x, 0.7), -clear_logit(x, 0.7))


def test_neighbouring_logits_stay_apart() -> None:
    logits = torch.linspace(-1e-6, 1e-6, 2001, dtype=torch.float32)
    served = clear_logit(torch.unique(logits), 0.5)
    assert (served[1:] > served[:-1]).all()


def test_a_learned_width_has_the_gradient_of_the_whole_likelihood() -> None:
    width = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    logits = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)

    def whole(t: Tensor) -> Tensor:
        return (unclear_loss(logits, t) + unclear_constant(t)).sum()

    assert torch.autograd.gradcheck(whole, (width,))
    # −log(σ(x + t) − σ(x − t)) as written.
    direct = -torch.log(torch.sigmoid(logits + width) - torch.sigmoid(logits - width)).sum()
    torch.testing.assert_close(whole(width), direct)


def test_half_precision_is_computed_in_float32_and_shapes_are_checked() -> None:
    half = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    assert unclear_loss(half, 0.5).dtype == torch.float32
    with pytest.raises(ValueError, match="shape"):
        ordinal_log_loss(torch.zeros(3), torch.zeros(3, 1), 0.5)


@pytest.mark.parametrize("width", [1e-3, 0.25, 1.0, 30.0])
def test_the_raw_logit_is_found_again(width: float) -> None:
    x = torch.cat([torch.linspace(-60, 60, 2001, dtype=torch.float64), torch.tensor([1e-9, -1e4, 1e4]).double()])
    torch.testing.assert_close(raw_logit(clear_logit(x, width), width), x, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(clear_logit(raw_logit(x, width), width), x, rtol=1e-13, atol=1e-13)
