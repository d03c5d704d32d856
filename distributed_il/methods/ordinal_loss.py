"""The ordinal loss: a pair is negative, unclear or positive, in this order, along one logit (proportional odds).

With cut points at ±t, x the logit and s(a) = log(1 + eᵃ) (McCullagh, J. R. Stat. Soc. B 42, 1980):

    P(positive) = σ(x − t),   P(negative) = σ(−x − t),   P(unclear) = σ(x + t) − σ(x − t)

Everything is computed in float64 and rounded once: x ± t would otherwise lose, in float32, the digits that decide
the tails.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

START = 0.5
"""What a learned half width starts from, before any step."""

_HALF = 0.5


def learned_half_width(weight: Tensor) -> Tensor:
    """Returns t = s(w + log(e^START − 1)) > 0 of a learned scalar w; START at w = 0. Gradients flow to w.

    Args:
        weight: w, a scalar of any float dtype.

    Returns:
        A float64 scalar.
    """
    return F.softplus(weight.double() + math.log(math.expm1(START)))


def ordinal_log_loss(logits: Tensor, labels: Tensor, half_width: float | Tensor) -> Tensor:
    """Returns −log P of each labelled row: s(t − x) where y = 1, s(t + x) where y = 0.

    Args:
        logits: x, float [B].
        labels: y, 0 or 1, [B] of any dtype.
        half_width: t > 0, a number or a scalar tensor that gradients flow to.

    Returns:
        [B] of the logits' dtype, half precision as float32; at least 0.

    Raises:
        ValueError: Shapes are not those above.
    """
    return _rounded(_softplus(half_width - _signed(logits, labels)), logits)


def clear_log_loss(logits: Tensor, labels: Tensor, half_width: float | Tensor) -> Tensor:
    """Returns −log P(y | clear) of each labelled row, the log loss of `clear_logit`; arguments as above.

    P(y | clear) = P(y) / (P(y) + P(1 − y)), so that it is s(log P(1 − y) − log P(y)).
    """
    signed = _signed(logits, labels)
    return _rounded(_softplus(_softplus(half_width - signed) - _softplus(half_width + signed)), logits)


def unclear_loss(logits: Tensor, half_width: float | Tensor) -> Tensor:
    """Returns s(−x − t) + s(x − t) of each unclear pair: −log P(unclear) but for `unclear_constant`.

    Its derivative is σ(x − t) − σ(−x − t): it draws x to 0, and the harder the further x lies beyond a cut point.

    Args:
        logits: x, float [B].
        half_width: t > 0, a number or a scalar tensor that gradients flow to.

    Returns:
        [B] of the logits' dtype, half precision as float32; at least 0.
    """
    wide = logits.double()
    return _rounded(_softplus(-wide - half_width) + _softplus(wide - half_width), logits)


def unclear_constant(half_width: Tensor) -> Tensor:
    """Returns −log(1 − e^(−2t)), which `unclear_loss` leaves out: without it a learned t would shrink to 0.

    Args:
        half_width: t > 0, a scalar tensor.
    """
    return -torch.log(-torch.expm1(-2 * half_width.double()))


def clear_logit(logits: Tensor, half_width: float) -> Tensor:
    """Returns the logit of P(positive | clear) = σ(x − t) / (σ(x − t) + σ(−x − t)).

    s(x + t) − s(t − x) = x + 2·artanh(tanh(x/2)·tanh(t/2)), strictly monotone in x. The difference as written would
    turn 2,001 logits within 1e-6 of 0 into a few dozen; the second form keeps them apart. Where the product of the
    tangents nears 1 it is computed from log cosh instead.

    Args:
        logits: x, float [B].
        half_width: t > 0.

    Returns:
        float64 [B]: in float32 neighbours far from 0 would fall together.
    """
    x = logits.double()
    size, width = x.abs(), torch.as_tensor(half_width, dtype=torch.float64, device=x.device)
    product = torch.tanh(size / 2) * torch.tanh(width / 2)
    small = product.clamp(max=_HALF)
    near = torch.log1p(small) - torch.log1p(-small)  # 2·artanh, of which ONNX's runtime has no float64
    # log cosh((|x| + t)/2) − log cosh((|x| − t)/2), and log cosh a = |a| + log(1 + e^(−2|a|)) − log 2.
    far = (
        torch.minimum(size, width)
        + torch.log1p(torch.exp(-size - width))
        - torch.log1p(torch.exp(-(size - width).abs()))
    )
    return x + torch.sign(x) * torch.where(product < _HALF, near, far)


def raw_logit(clear: Tensor, half_width: float) -> Tensor:
    """Returns x of a `clear_logit` s, its inverse.

    |x| = |s| − t − log 2 + log((1 − q) + √((1 − q)² + 4·e^(2t)·q)), q = e^(−|s|), solves e^s = (1 + e^(x+t)) / (1 +
    e^(t−x)) for e^x.

    Args:
        clear: s, float [B].
        half_width: t > 0.

    Returns:
        float64 [B].
    """
    s = clear.double()
    size = s.abs()
    rest = -torch.expm1(-size)  # 1 − q
    root = torch.sqrt(rest.square() + 4 * torch.exp(2 * half_width - size))
    return torch.sign(s) * (size - half_width - math.log(2) + torch.log(rest + root))


def _signed(logits: Tensor, labels: Tensor) -> Tensor:
    """x where y = 1, −x where y = 0, in float64."""
    if logits.dim() != 1:
        raise ValueError(f"logits must have shape [B], not {list(logits.shape)}")
    if labels.shape != logits.shape:
        raise ValueError(f"labels must have shape {list(logits.shape)}, not {list(labels.shape)}")
    return logits.double() * (2 * labels.double() - 1)


def _softplus(values: Tensor) -> Tensor:
    """s(a), accurate in both tails."""
    return -F.logsigmoid(-values)


def _rounded(values: Tensor, like: Tensor) -> Tensor:
    return values.to(torch.float32 if like.dtype in (torch.bfloat16, torch.float16) else like.dtype)
