"""Per-example losses and weights, as pure functions of logits: never a mean, which belongs to the caller.

Notation: x the logit, ŷ = σ(x), p = softplus(−x) the log loss under label 1, n = softplus(x) under label 0.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

_FULL_PRECISION = (torch.float32, torch.float64)
_HALF_PRECISION = (torch.bfloat16, torch.float16)

# Added before a count is rounded down, so that a rate of 0.29 drops 29 rows of 100 and not, by 0.29 · 100 =
# 28.999…96, 28.
_COUNT_SLACK = 1e-9

# |x| below which the dual gradient takes the form that does not cancel near 0; there both forms round about alike.
_NEAR_ZERO = 0.4


def log_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Computes the log loss of each row: ℓ(x, y) = softplus(−x) where y = 1, softplus(x) where y = 0.

    Accurate in both tails: a loss of 1e-30 comes out as such, not as the difference of two large numbers.

    Args:
        logits: float [B], any finite value; half precision is computed in float32.
        labels: [B] of any dtype, each 0 or 1.

    Returns:
        float32 or float64 [B], at least 0.

    Raises:
        ValueError: Shapes or dtypes are not those above.
    """
    logits = _full_precision(logits)
    return -F.logsigmoid(_signed(logits, labels))


def soft_log_loss(logits: Tensor, target: float) -> Tensor:
    """Computes the log loss against a soft label y: y·softplus(−x) + (1 − y)·softplus(x), least at σ(x) = y.

    A sum of two terms of one sign, so that nothing cancels; at y = 0 and y = 1 it is `log_loss` to the bit.

    Args:
        logits: float [B], any finite value; half precision is computed in float32.
        target: y in [0, 1], of all rows.

    Returns:
        float32 or float64 [B], at least 0.

    Raises:
        ValueError: Shape or dtype are not those above, or y is out of range.
    """
    if not 0 <= target <= 1:
        raise ValueError(f"target is {target}; it must lie between 0 and 1")
    logits = _full_precision(logits)
    if target in (0, 1):
        return log_loss(logits, torch.full_like(logits, target))
    return -target * F.logsigmoid(logits) - (1 - target) * F.logsigmoid(-logits)


def weighted_sum(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Computes Σ w·ℓ, or Σ ℓ where rows have no weights.

    Args:
        losses: [B].
        weights: w of each, [B]; or None.

    Raises:
        ValueError: Shapes differ.
    """
    if weights is None:
        return losses.sum()
    _check_same_length("weights", weights, losses)
    return (losses * weights).sum()


def t_ce_drop_rate(step: int, max_drop_rate: float, num_gradual_steps: int) -> float:
    """T-CE's share of rows to drop at a step: ε(T) = min(1, T / T_max) · ε_max (WSDM 2021, Section 4.1).

    Args:
        step: Optimiser steps done before this one, 0 at the first.
        max_drop_rate: ε_max in [0, 1).
        num_gradual_steps: T_max, at least 1.

    Returns:
        A share in [0, max_drop_rate].

    Raises:
        ValueError: An argument is out of its range.
    """
    if step < 0 or num_gradual_steps < 1:
        raise ValueError(f"step {step} must be at least 0 and num_gradual_steps {num_gradual_steps} at least 1")
    _check_rate(max_drop_rate)
    return max_drop_rate * min(1.0, step / num_gradual_steps)


def t_ce_scores(losses: Tensor, labels: Tensor) -> Tensor:
    """Computes the scores that T-CE ranks rows by, loss × label without gradient: negatives have 0.

    Args:
        losses: float32 or float64 [B], log losses.
        labels: [B] of any dtype, each 0 or 1.

    Returns:
        [B], of the dtype of `losses`.

    Raises:
        ValueError: Shapes or dtypes are not those above.
    """
    _check_vector("losses", losses, _FULL_PRECISION)
    _check_same_length("labels", labels, losses)
    return torch.where(labels > 0, losses.detach(), 0.0)


def t_ce_keep_mask(losses: Tensor, labels: Tensor, drop_rate: float) -> Tensor:
    """Selects the rows that T-CE keeps: all but the ⌊drop_rate · B⌋ of largest loss × label (WSDM 2021, Eq. 4).

    Equal values are dropped from the end of the batch. Where a batch has fewer positives than rows to drop,
    negatives make up the number, as the definition by loss × label has it.

    Args:
        losses: float32 or float64 [B], log losses.
        labels: [B] of any dtype, each 0 or 1.
        drop_rate: Share in [0, 1).

    Returns:
        bool [B]; the mean of the loss is over the rows kept.

    Raises:
        ValueError: Shapes or dtypes are not those above, or the rate is out of range.
    """
    scores = t_ce_scores(losses, labels)
    _check_rate(drop_rate)
    size = scores.shape[0]
    order = torch.argsort(scores, stable=True)
    keep = torch.ones(size, dtype=torch.bool, device=scores.device)
    keep[order[size - _num_dropped(drop_rate, size) :]] = False
    return keep


def t_ce_global_keep_mask(scores: Tensor, row_numbers: Tensor, drop_rate: float) -> Tensor:
    """Selects the rows of the global batch that T-CE keeps, the same on every rank.

    Equal scores are dropped from the largest row number down, so that the answer does not depend on how the rows
    were dealt to ranks. A rank finds its own rows in its own slice.

    Args:
        scores: float32 or float64 [G], `t_ce_scores` of every rank, in rank order.
        row_numbers: int64 [G], each row's global number; negative where a rank filled up its part. Such filling is
            neither counted nor kept.
        drop_rate: Share in [0, 1).

    Returns:
        bool [G], in the order given.

    Raises:
        ValueError: Shapes or dtypes are not those above, or the rate is out of range.
    """
    _check_vector("scores", scores, _FULL_PRECISION)
    _check_same_length("row_numbers", row_numbers, scores)
    if row_numbers.dtype != torch.int64:
        raise ValueError(f"row_numbers must be int64, not {row_numbers.dtype}")
    _check_rate(drop_rate)
    real = row_numbers >= 0
    size = int(real.sum())
    by_row = torch.argsort(row_numbers, stable=True)
    # Filling sorts behind every row, so that the first `kept` places belong to real rows.
    sortable = torch.where(real, scores.detach(), math.inf)
    order = by_row[torch.argsort(sortable[by_row], stable=True)]
    kept = size - _num_dropped(drop_rate, size)
    keep = torch.zeros_like(real)
    keep[order[:kept]] = True
    return keep & real


def r_ce_weights(logits: Tensor, labels: Tensor, exponent: float) -> Tensor:
    """R-CE's weights, without gradient: ŷ^β on positives, (1 − ŷ)^β on negatives (WSDM 2021, Eq. 6).

    Computed as exp(β · log σ(±x)), so that a weight does not vanish before its true value does.

    Args:
        logits: float [B]; half precision is computed in float32.
        labels: [B] of any dtype, each 0 or 1.
        exponent: β, at least 0.

    Returns:
        float32 or float64 [B] in [0, 1].

    Raises:
        ValueError: Shapes or dtypes are not those above, or β is negative or not finite.
    """
    if not (math.isfinite(exponent) and exponent >= 0):
        raise ValueError(f"exponent is {exponent}; it must be 0 or a finite number above it")
    logits = _full_precision(logits.detach())
    return torch.exp(exponent * F.logsigmoid(_signed(logits, labels)))


def inverse_dual_weights(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the inverse dual loss's weights, without gradient: w1 = n² / (n² + p²), w0 = p² / (n² + p²) (Eq. 4).

    With q the smaller of p and n over the larger, the weights are 1 / (1 + q²) and q² / (1 + q²): nothing overflows,
    nothing cancels, and the smaller weight keeps its digits until it underflows.

    Args:
        logits: float [B], any finite value; half precision gives float32.

    Returns:
        (w1, w0), each float32 or float64 [B] in [0, 1]; w1 + w0 = 1, both ½ at x = 0.

    Raises:
        ValueError: Shape or dtype are not those above.
    """
    logits = _full_precision(logits.detach())
    _, smaller, larger = _dual_parts(logits.abs().double())
    square = (smaller / larger).square_()
    heavy = torch.reciprocal(1.0 + square)
    light = square.mul_(heavy).to(logits.dtype)
    heavy = heavy.to(logits.dtype)
    positive = logits > 0
    return torch.where(positive, heavy, light), torch.where(positive, light, heavy)


def inverse_dual_loss(logits: Tensor) -> Tensor:
    """Inverse dual loss of each row: L = w1·p + w0·n, with no gradient through the weights (Eq. 4).

    Its derivative is therefore w0·σ(x) − w1·σ(−x), and it is not that of the value as a function of x.
    For any finite logit both are within 8 ulp (the derivative within 4·eps where |x| < 0.1).

    Args:
        logits: float [B], any finite value; half precision gives float32.

    Returns:
        float32 or float64 [B], at least 0. Once differentiable.

    Raises:
        ValueError: Shape or dtype are not those above.
    """
    return cast(Tensor, _InverseDualLoss.apply(_full_precision(logits)))  # pyright: ignore[reportUnknownMemberType]


class _InverseDualLoss(torch.autograd.Function):
    """The loss with its derivative in closed form, so that the backward pass is one product.

    Inside all is float64, which leaves one rounding and spares float32 the cure for cancellation: at batch 1,024 it is
    no slower.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        magnitude = logits.abs().double()
        exponential, smaller, larger = _dual_parts(magnitude)
        ratio = smaller / larger
        square = ratio * ratio
        ratio += 1.0
        denominator = 1.0 + square
        # L is even in x: (l²·s + s²·l) / (l² + s²) = s·(1 + q) / (1 + q²).
        loss = smaller.mul_(ratio).div_(denominator)
        if ctx.needs_input_grad[0]:
            # |g| = (e − q²) / ((1 + q²)(1 + e)), and g has the sign of −x.
            difference = exponential - square
            if logits.dtype == torch.float64:
                # There is no wider type to hide the cancellation of e and q², both near 1, for small |x|:
                # e − q² = (1 − q²) − (1 − e) = (|x| / l)(1 + q) + expm1(−|x|).
                near_zero = magnitude / larger * ratio + torch.expm1(-magnitude)
                difference = torch.where(magnitude < _NEAR_ZERO, near_zero, difference)
            exponential += 1.0
            gradient = difference.div_(exponential.mul_(denominator)).to(logits.dtype)
            ctx.save_for_backward(gradient.mul_(torch.sign(logits).neg_()))
        return loss.to(logits.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return grad_output * gradient


def _dual_parts(magnitude: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """e = exp(−|x|), s = min(p, n) = log(1 + e) and l = max(p, n) = |x| + s, each of full relative accuracy."""
    exponential = torch.exp(-magnitude)
    smaller = torch.log1p(exponential)
    return exponential, smaller, magnitude + smaller


def _signed(logits: Tensor, labels: Tensor) -> Tensor:
    """x on positives, −x on negatives: the log-odds of the label that was given."""
    _check_same_length("labels", labels, logits)
    return logits * (2 * labels.to(logits.dtype) - 1)


def _num_dropped(drop_rate: float, size: int) -> int:
    return math.floor(drop_rate * size + _COUNT_SLACK)


def _full_precision(logits: Tensor) -> Tensor:
    _check_vector("logits", logits, _FULL_PRECISION + _HALF_PRECISION)
    return logits.float() if logits.dtype in _HALF_PRECISION else logits


def _check_vector(name: str, values: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    if values.dim() != 1:
        raise ValueError(f"{name} must have shape [B], not {list(values.shape)}")
    if values.dtype not in dtypes:
        raise ValueError(f"{name} must be of dtype {' or '.join(map(str, dtypes))}, not {values.dtype}")


def _check_same_length(name: str, values: Tensor, reference: Tensor) -> None:
    # An [B, 1] beside a [B] would broadcast to [B, B] and train on nonsense without a word.
    if values.shape != reference.shape:
        raise ValueError(f"{name} must have shape {list(reference.shape)}, not {list(values.shape)}")


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"the drop rate is {rate}; it must lie in [0, 1)")
