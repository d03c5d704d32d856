"""Losses and weights: rows by hand, identities, and the inverse dual loss against 50 digits."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distributed_il.methods.losses import (
    inverse_dual_loss,
    inverse_dual_weights,
    log_loss,
    r_ce_weights,
    soft_log_loss,
    t_ce_drop_rate,
    t_ce_global_keep_mask,
    t_ce_keep_mask,
    t_ce_scores,
)

LOGITS = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30)


def float64(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def labels_for(logits: list[float]) -> Tensor:
    return torch.arange(len(logits)) % 2


# Log loss


def test_log_loss_by_hand() -> None:
    # softplus(0) = log 2; softplus(−log 3) = log(1 + 1/3) = log 4/3; softplus(log 3) = log 4.
    logits = float64([0.0, math.log(3), math.log(3), -math.log(3)])
    losses = log_loss(logits, torch.tensor([1, 1, 0, 0]))
    expected = float64([math.log(2), math.log(4 / 3), math.log(4), math.log(4 / 3)])
    torch.testing.assert_close(losses, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_loss_keeps_its_digits_in_the_tails(dtype: torch.dtype) -> None:
    # log(1 + e⁻⁵⁰) = e⁻⁵⁰ to 22 digits; on the wrong side the loss is 50.
    losses = log_loss(torch.tensor([50.0, -50.0, 50.0, -1e4], dtype=dtype), torch.tensor([1.0, 0.0, 0.0, 1.0]))
    expected = torch.tensor([math.exp(-50), math.exp(-50), 50.0, 1e4], dtype=dtype)
    torch.testing.assert_close(losses, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_gradient_of_log_loss_is_probability_minus_label() -> None:
    logits = torch.linspace(-30, 30, 61, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(61) % 2
    (gradient,) = torch.autograd.grad(log_loss(logits, labels).sum(), logits)
    torch.testing.assert_close(gradient, torch.sigmoid(logits.detach()) - labels)


# Log loss against a soft label


@pytest.mark.parametrize("target", [1e-9, 0.3, 0.5, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_log_loss_against_50_digits(dtype: torch.dtype, target: float) -> None:
    logits = hard_logits(dtype).requires_grad_()
    losses = soft_log_loss(logits, target)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    with mpmath.workdps(50):
        y = mpmath.mpf(target)
        for row, logit in enumerate(logits.tolist()):
            x = mpmath.mpf(logit)
            exact = y * mpmath.log1p(mpmath.exp(-x)) + (1 - y) * mpmath.log1p(mpmath.exp(x))
            assert error_in_ulp(losses[row].item(), exact, dtype) <= 8, logit
            slope = float(1 / (1 + mpmath.exp(-x)) - y)
            assert abs(gradient[row].item() - slope) <= 4 * torch.finfo(dtype).eps, logit


def test_soft_log_loss_at_0_and_1_is_log_loss_to_the_bit() -> None:
    for target in (0.0, 1.0):
        logits = hard_logits(torch.float32).requires_grad_()
        ours, theirs = soft_log_loss(logits, target), log_loss(logits, torch.full_like(logits, target))
        assert torch.equal(ours, theirs)
        assert torch.equal(*(torch.autograd.grad(loss.sum(), logits)[0] for loss in (ours, theirs)))
    with pytest.raises(ValueError, match="target is 1.5"):
        soft_log_loss(torch.zeros(2), 1.5)


# T-CE


def test_drop_rate_rises_linearly_and_stays() -> None:
    rates = [t_ce_drop_rate(step, 0.2, 1000) for step in (0, 250, 500, 1000, 5000)]
    assert rates == [0.0, 0.05, 0.1, 0.2, 0.2]


@pytest.mark.parametrize(("step", "rate", "steps"), [(-1, 0.1, 10), (0, 1.0, 10), (0, -0.1, 10), (0, 0.1, 0)])
def test_drop_rate_refuses_what_is_out_of_range(step: int, rate: float, steps: int) -> None:
    with pytest.raises(ValueError, match="must"):
        t_ce_drop_rate(step, rate, steps)


def test_t_ce_drops_the_positives_of_largest_loss() -> None:
    # loss × label = [3, 0, 2, 0, 1]; ⌊0.4 · 5⌋ = 2 rows go: losses 3 and 2. The negative of loss 9 stays.
    losses, labels = torch.tensor([3.0, 9.0, 2.0, 4.0, 1.0]), torch.tensor([1, 0, 1, 0, 1])
    assert t_ce_keep_mask(losses, labels, 0.4).tolist() == [False, True, False, True, True]


def test_t_ce_drops_ties_from_the_end_and_negatives_only_after_positives() -> None:
    # loss × label = [1, 1, 1, 0, 0]: two of the three ones go, the later ones.
    losses, labels = torch.tensor([1.0, 1.0, 1.0, 5.0, 6.0]), torch.tensor([1, 1, 1, 0, 0])
    assert t_ce_keep_mask(losses, labels, 0.4).tolist() == [True, False, False, True, True]
    # Four go: all positives and the last of the zeros.
    assert t_ce_keep_mask(losses, labels, 0.8).tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(("rate", "size", "dropped"), [(0.29, 100, 29), (0.1, 19, 1), (0.05, 19, 0), (0.7, 10, 7)])
def test_t_ce_rounds_the_number_of_dropped_rows_down(rate: float, size: int, dropped: int) -> None:
    keep = t_ce_keep_mask(torch.rand(size), torch.ones(size), rate)
    assert int((~keep).sum()) == dropped


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40))
def test_t_ce_at_rate_0_keeps_everything(losses: list[float]) -> None:
    assert t_ce_keep_mask(float64(losses), labels_for(losses), 0.0).all()


def dealt(scores: Tensor, rows: Tensor, ranks: int) -> tuple[Tensor, Tensor, Tensor]:
    """The rows as `ranks` ranks would gather them, each padded to one length, and where each gathered row came from."""
    size = -(-len(scores) // ranks)
    parts: list[Tensor] = []
    for rank in range(ranks):
        part = torch.arange(rank, len(scores), ranks)
        parts.append(torch.cat([part, torch.full((size - len(part),), -1)]))
    source = torch.cat(parts)
    filling = source < 0
    return torch.where(filling, 99.0, scores[source]), torch.where(filling, -1, rows[source]), source


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.35, 0.9])
def test_global_t_ce_does_not_depend_on_how_rows_are_dealt(ranks: int, rate: float) -> None:
    generator = torch.Generator().manual_seed(1)
    losses = torch.randint(0, 5, (50,), generator=generator) / 4
    labels = torch.randint(0, 2, (50,), generator=generator)
    rows = torch.arange(1000, 1050)
    one_process = t_ce_keep_mask(losses, labels, rate)
    scores, numbers, source = dealt(t_ce_scores(losses, labels), rows, ranks)
    keep = t_ce_global_keep_mask(scores, numbers, rate)
    assert not keep[numbers < 0].any()
    found = torch.zeros(50, dtype=torch.bool)
    found[source[keep]] = True
    assert found.tolist() == one_process.tolist()


def test_t_ce_scores_carry_no_gradient() -> None:
    losses = torch.ones(3, requires_grad=True)
    assert not t_ce_scores(losses, torch.ones(3)).requires_grad


# R-CE


def test_r_ce_weights_by_hand() -> None:
    # σ(log 3) = 3/4. Positive: (3/4)^½. Negative at log 3: (1/4)^½ = ½. At 0: (1/2)^½.
    weights = r_ce_weights(float64([math.log(3), math.log(3), 0.0]), torch.tensor([1, 0, 1]), 0.5)
    torch.testing.assert_close(weights, float64([math.sqrt(0.75), 0.5, math.sqrt(0.5)]), rtol=1e-15, atol=0)


def test_r_ce_weights_do_not_vanish_early() -> None:
    # σ(−200) underflows in float32, σ(−200)^0.1 = e⁻²⁰ does not.
    weights = r_ce_weights(torch.tensor([-200.0, 200.0]), torch.tensor([1, 0]), 0.1)
    torch.testing.assert_close(weights, torch.full((2,), math.exp(-20)), rtol=1e-5, atol=0)


def test_r_ce_weights_carry_no_gradient() -> None:
    assert not r_ce_weights(torch.ones(2, requires_grad=True), torch.ones(2), 0.3).requires_grad


@given(LOGITS)
def test_r_ce_at_exponent_0_is_log_loss(logits: list[float]) -> None:
    assert (r_ce_weights(float64(logits), labels_for(logits), 0.0) == 1).all()


@pytest.mark.parametrize("exponent", [-0.1, math.nan, math.inf])
def test_r_ce_refuses_an_exponent_out_of_range(exponent: float) -> None:
    with pytest.raises(ValueError, match="exponent"):
        r_ce_weights(torch.ones(2), torch.ones(2), exponent)


# Inverse dual loss


def reference(logit: float) -> tuple[mpmath.mpf, mpmath.mpf, mpmath.mpf, mpmath.mpf]:
    """(L, w1, w0, ∂L/∂x) as the paper writes them, in 50 digits."""
    with mpmath.workdps(50):
        x = mpmath.mpf(logit)
        p, n = mpmath.log1p(mpmath.exp(-x)), mpmath.log1p(mpmath.exp(x))
        z = n / p + p / n
        w1, w0 = n / p / z, p / n / z
        return w1 * p + w0 * n, w1, w0, w0 / (1 + mpmath.exp(-x)) - w1 / (1 + mpmath.exp(x))


def error_in_ulp(got: float, expected: mpmath.mpf, dtype: torch.dtype) -> float:
    """Distance in units of the last place of the expected value; 0 for a faithful underflow."""
    limits = torch.finfo(dtype)
    if abs(expected) < limits.tiny:
        return 0.0 if abs(got) <= limits.tiny else math.inf
    with mpmath.workdps(50):
        unit = mpmath.mpf(2) ** (mpmath.frexp(expected)[1] - 1) * limits.eps
        return float(abs(mpmath.mpf(got) - expected) / unit)


def hard_logits(dtype: torch.dtype) -> Tensor:
    """Logits of every magnitude and both signs, with the places where exp(−|x|) and its square underflow."""
    tails = torch.logspace(0, 4, 150, dtype=torch.float64)
    middle = torch.linspace(0, 3, 150, dtype=torch.float64)
    small = torch.logspace(-45, -1, 60, dtype=torch.float64)
    edges = torch.tensor([0.1, 0.4, 1.0, 7.0, 17.0, 36.7, 43.7, 51.9, 87.3, 88.8, 103.9, 104.0, 372.5, 708.4, 745.2])
    positive = torch.cat([tails, middle, small, edges.double(), torch.tensor([1e4], dtype=torch.float64)])
    return torch.cat([positive, -positive, torch.zeros(1)]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_inverse_dual_loss_against_50_digits(dtype: torch.dtype) -> None:
    logits = hard_logits(dtype)
    wide = (logits.float() if dtype == torch.bfloat16 else logits).requires_grad_()
    out = wide.dtype
    loss, (w1, w0) = inverse_dual_loss(logits), inverse_dual_weights(logits)
    (gradient,) = torch.autograd.grad(inverse_dual_loss(wide).sum(), wide)
    assert {part.dtype for part in (loss, w1, w0, gradient)} == {out}
    assert all(part.isfinite().all() for part in (loss, w1, w0, gradient))
    for row, logit in enumerate(wide.tolist()):
        *expected, expected_gradient = reference(logit)
        for got, exact in zip((loss, w1, w0), expected, strict=True):
            assert error_in_ulp(got[row].item(), exact, out) <= 8, logit
        if abs(logit) < 0.1:
            assert abs(gradient[row].item() - expected_gradient) <= 4 * torch.finfo(out).eps, logit
        else:
            assert error_in_ulp(gradient[row].item(), expected_gradient, out) <= 8, logit


def test_inverse_dual_loss_by_hand() -> None:
    # x = log 3: p = log 4/3, n = log 4; L = (n²p + p²n) / (n² + p²).
    p, n = math.log(4 / 3), math.log(4)
    w1, w0 = n * n / (n * n + p * p), p * p / (n * n + p * p)
    logits = float64([math.log(3), -math.log(3)]).requires_grad_()
    loss = inverse_dual_loss(logits)
    torch.testing.assert_close(loss.detach(), float64([w1 * p + w0 * n] * 2), rtol=1e-15, atol=0)
    # σ(log 3) = 3/4: w0 · 3/4 − w1 · 1/4, and the opposite at −log 3.
    slope = w0 * 0.75 - w1 * 0.25
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, float64([slope, -slope]), rtol=1e-14, atol=0)


def test_inverse_dual_at_zero() -> None:
    logits = torch.zeros(2, requires_grad=True)
    w1, w0 = inverse_dual_weights(logits)
    assert w1.tolist() == w0.tolist() == [0.5, 0.5]
    loss = inverse_dual_loss(logits)
    torch.testing.assert_close(loss.detach(), torch.full((2,), math.log(2)))
    assert torch.autograd.grad(loss.sum(), logits)[0].tolist() == [0.0, 0.0]


def test_inverse_dual_gradient_is_that_of_autograd_with_fixed_weights() -> None:
    logits = torch.linspace(-20, 20, 200, dtype=torch.float64, requires_grad=True)
    w1, w0 = inverse_dual_weights(logits)
    direct = w1 * log_loss(logits, torch.ones(200)) + w0 * log_loss(logits, torch.zeros(200))
    loss = inverse_dual_loss(logits)
    torch.testing.assert_close(loss, direct)
    upstream = torch.linspace(1, 2, 200, dtype=torch.float64)
    expected = torch.autograd.grad((direct * upstream).sum(), logits)[0]
    torch.testing.assert_close(torch.autograd.grad((loss * upstream).sum(), logits)[0], expected)


@given(LOGITS)
def test_inverse_dual_identities(logits: list[float]) -> None:
    x = float64(logits)
    w1, w0 = inverse_dual_weights(x)
    assert ((w1 >= 0) & (w1 <= 1) & (w0 >= 0) & (w0 <= 1)).all()
    torch.testing.assert_close(w1 + w0, torch.ones_like(x))
    mirrored_w1, mirrored_w0 = inverse_dual_weights(-x)
    assert torch.equal(mirrored_w1, w0)
    assert torch.equal(mirrored_w0, w1)
    assert torch.equal(inverse_dual_loss(x), inverse_dual_loss(-x))


def test_half_precision_gives_float32_and_its_own_gradient_type() -> None:
    logits = torch.tensor([1.0, -2.0], dtype=torch.bfloat16, requires_grad=True)
    loss = inverse_dual_loss(logits)
    assert loss.dtype == torch.float32
    assert torch.autograd.grad(loss.sum(), logits)[0].dtype == torch.bfloat16


# Shapes and dtypes


def test_mismatched_shapes_raise() -> None:
    row, column, labels = torch.zeros(3), torch.zeros(3, 1), torch.zeros(3)
    for call in (
        lambda: log_loss(column, labels),
        lambda: log_loss(row, column),
        lambda: log_loss(row, labels[:2]),
        lambda: r_ce_weights(column, labels, 0.1),
        lambda: r_ce_weights(row, column, 0.1),
        lambda: t_ce_keep_mask(row, column, 0.1),
        lambda: t_ce_global_keep_mask(row, torch.arange(2), 0.1),
        lambda: inverse_dual_loss(column),
        lambda: inverse_dual_weights(column),
    ):
        with pytest.raises(ValueError, match="shape"):
            call()


def test_wrong_dtypes_raise() -> None:
    integers, labels = torch.zeros(3, dtype=torch.int64), torch.zeros(3)
    for call in (
        lambda: log_loss(integers, labels),
        lambda: inverse_dual_loss(integers),
        lambda: t_ce_keep_mask(labels.bfloat16(), labels, 0.1),
        lambda: t_ce_global_keep_mask(labels, labels, 0.1),
    ):
        with pytest.raises(ValueError, match=r"dtype|int64"):
            call()
