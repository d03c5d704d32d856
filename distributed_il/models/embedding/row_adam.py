"""Adam, row by row: the update of touched rows, and the updates that untouched rows defer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class Rows:
    """Weights and moments of some rows, views of one [n, 3·dim] tensor: a write to one is a write to it."""

    weight: Tensor  # w, [n, dim]
    first: Tensor  # m, the running mean of gradients, [n, dim]
    second: Tensor  # v, the running mean of squared gradients, [n, dim]

    @classmethod
    def of(cls, packed: Tensor) -> Rows:
        """Splits [n, 3·dim] into its three parts without copying."""
        return cls(*packed.chunk(3, dim=1))


def adam_update(rows: Rows, gradient: Tensor, *, step: int, learning_rate: float, weight_decay: float) -> None:
    """Takes one Adam step on rows in place (Kingma and Ba 2015; coupled L2).

    g ← g + λw;  m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;
    w ← w − γ · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

    Args:
        rows: Weights and moments, [n, dim] each.
        gradient: g [n, dim], of the global batch.
        step: t, the optimiser's step count, from 1.
        learning_rate: γ.
        weight_decay: λ.

    Raises:
        ValueError: Shapes differ.
    """
    if gradient.shape != rows.weight.shape:
        raise ValueError(f"gradient {tuple(gradient.shape)} does not fit rows {tuple(rows.weight.shape)}")
    root, rate = 1 / math.sqrt(1 - BETA2**step), learning_rate / (1 - BETA1**step)
    adam_arithmetic(rows, gradient, rate, root, weight_decay)


def adam_arithmetic(
    rows: Rows, gradient: Tensor, rate: float | Tensor, root: float | Tensor, weight_decay: float
) -> None:
    """Does the tensor arithmetic of `adam_update` in place.

    Args:
        rows: Weights and moments, [n, dim] each.
        gradient: g [n, dim].
        rate: γ/(1 − β₁ᵗ); a scalar tensor where the step is compiled.
        root: 1/√(1 − β₂ᵗ), likewise.
        weight_decay: λ.
    """
    if weight_decay:
        gradient = gradient.add(rows.weight, alpha=weight_decay)
    rows.first.lerp_(gradient, 1 - BETA1)
    rows.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    denominator = rows.second.sqrt().mul_(root).add_(EPSILON)
    if isinstance(rate, Tensor):
        rows.weight.sub_(rows.first / denominator * rate)
    else:
        rows.weight.addcdiv_(rows.first, denominator, value=-rate)


def catch_up(rows: Rows, last_step: Tensor, *, step: int | Tensor, learning_rate: float, weight_decay: float) -> None:
    """Gives rows, in place, what a dense Adam would have done to them in the steps that did not touch them.

    In a step that brings a row no gradient but λw, a dense Adam still moves it by its decaying momentum and by decay.
    Over k = step − last_step such steps, with w held fixed inside the sums:

    momentum: w ← w − γ Σⱼ β₁ʲm / √(β₂ʲv),              a geometric series in β₁/√β₂
    decay:    w ← w · exp(−γλ Σⱼ 1/√(β₂ʲv + (λw)²)),     bounded by the series in 1/√β₂ and by k/|λw|
    moments:  m ← β₁ᵏm + (1 − β₁ᵏ)λw;  v ← β₂ᵏv + (1 − β₂ᵏ)(λw)²

    Deviation: an approximation of dense Adam (bias corrections are taken at the first missed step), at the cost of
    the touched rows.

    Args:
        rows: Weights and moments, [n, dim] each.
        last_step: Step after which each row was last brought up to date, int [n].
        step: The step to bring them to, not below any of `last_step`.
        learning_rate: γ.
        weight_decay: λ.
    """
    missed = (step - last_step).to(rows.weight.dtype).unsqueeze(1)
    first_missed = (last_step + 1).to(torch.float64).unsqueeze(1)
    correction = ((1 - BETA2**first_missed).sqrt() / (1 - BETA1**first_missed)).to(rows.weight.dtype)
    scale = rows.second.sqrt() + EPSILON
    ratio = BETA1 / math.sqrt(BETA2)
    momentum_sum = ratio * (1 - ratio**missed) / (1 - ratio)
    rows.weight.addcdiv_(rows.first * (momentum_sum * correction), scale, value=-learning_rate)
    kept1, kept2 = BETA1**missed, BETA2**missed
    if weight_decay:
        decay = rows.weight * weight_decay
        growth = 1 / math.sqrt(BETA2)
        # growth**missed overflows after some 10⁵ steps; k/|λw| bounds the sum long before.
        inverse_root_sum = growth * (growth ** missed.clamp(max=20_000) - 1) / (growth - 1) / scale
        inverse_root_sum = torch.minimum(inverse_root_sum, missed / (decay.abs() + EPSILON))
        rows.weight.mul_(torch.exp(inverse_root_sum * correction * (-learning_rate * weight_decay)))
        rows.first.mul_(kept1).addcmul_(decay, 1 - kept1)
        rows.second.mul_(kept2).addcmul_(decay * decay, 1 - kept2)
    else:
        rows.first.mul_(kept1)
        rows.second.mul_(kept2)
