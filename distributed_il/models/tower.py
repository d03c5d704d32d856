"""The dense tower of a backbone, laid out flat: one vector of weights, with its moments, like one row of a table."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from distributed_il.core.config import OptimizerConfig
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.row_adam import Rows, adam_update


class Extra(NamedTuple):
    """Weights that every rank holds beside the backbone's; they start at 0.

    Attributes:
        shape: Of the weights.
        weight_decay: λ of their own.
    """

    shape: tuple[int, ...]
    weight_decay: float = 0.0


class Tower:
    """A backbone whose parameters are views of one flat vector: a step on all of them is a step on one tensor.

    Extras lie in the same vector behind the backbone's parameters, so they are exchanged, updated, checked and saved as
    those are.

    Attributes:
        module: The backbone.
        parameters: Its parameters.
        extras: Weights beside them, by name.
        packed: Weights and both Adam moments, [1, 3·P], P = backbone and extras.
        rows: Views of `packed`, [1, P] each.
    """

    def __init__(
        self,
        module: Backbone,
        *,
        dtype: torch.dtype,
        device: torch.device,
        extras: Mapping[str, Extra] | None = None,
    ) -> None:
        """Lays a backbone out flat, and behind it the extras, which start at 0; replaces its parameters' storage."""
        self.module = module.to(device)
        self.parameters = list(self.module.parameters())
        self.extras = dict(extras or {})
        self.module_size = sum(parameter.numel() for parameter in self.parameters)
        size = self.module_size + sum(math.prod(extra.shape) for extra in self.extras.values())
        self.packed = torch.zeros((1, 3 * size), dtype=dtype, device=device)
        self.rows = Rows.of(self.packed) if size else Rows(self.packed, self.packed, self.packed)
        _lay_out(self.module, self.flat)
        self._candidates: tuple[Backbone, Backbone] | None = None
        self._decays: Tensor | None = None
        self._shifted = torch.zeros((2, size), dtype=dtype, device=device)

    @property
    def size(self) -> int:
        """P, the parameters of backbone and extras."""
        return self.flat.numel()

    @property
    def flat(self) -> Tensor:
        """All weights, a view [P]."""
        return self.rows.weight[0]

    def state(self) -> dict[str, Tensor]:
        """Returns weights, moments (`name#first`, `name#second`) and buffers by name: views, to be read or written."""
        found: dict[str, Tensor] = {}
        start = 0
        for name, parameter in self.module.named_parameters():
            stop = start + parameter.numel()
            found[name] = parameter.detach()
            found[f"{name}#first"] = self.rows.first[0, start:stop].view_as(parameter)
            found[f"{name}#second"] = self.rows.second[0, start:stop].view_as(parameter)
            start = stop
        for name in self.extras:
            found[name] = self.extra(name)
            found[f"{name}#first"] = self.extra(name, self.rows.first[0])
            found[f"{name}#second"] = self.extra(name, self.rows.second[0])
        found |= {f"{name}#buffer": buffer for name, buffer in self.module.named_buffers()}
        return found

    def extra(self, name: str, flat: Tensor | None = None) -> Tensor:
        """Returns extra weights as a view.

        Args:
            name: Of the extra.
            flat: A vector laid out like `flat` to take them from, such as δ; None for the weights.
        """
        start = self.module_size
        for other, extra in self.extras.items():
            stop = start + math.prod(extra.shape)
            if other == name:
                return (self.flat if flat is None else flat)[start:stop].view(extra.shape)
            start = stop
        raise KeyError(name)

    def flatten(self, gradients: Sequence[Tensor]) -> Tensor:
        """Joins gradients of the backbone's parameters, and of extras behind them, in their order."""
        if not gradients:
            return self.flat.new_zeros(self.module_size)
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    def take_gradient(self) -> Tensor:
        """Returns the gradients that a backward pass left in the backbone's parameters, and clears them."""
        flat = self.flatten([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        for parameter in self.parameters:
            parameter.grad = None
        return flat

    def candidates(self, delta: Tensor) -> tuple[Backbone, Backbone, Backbone]:
        """Returns the towers θ − δ, θ and θ + δ, of δ [P]; the outer two are overwritten at each call."""
        if self._candidates is None:
            self._candidates = (copy.deepcopy(self.module), copy.deepcopy(self.module))
            for tower, weights in zip(self._candidates, self._shifted, strict=True):
                _lay_out(tower, weights)
        torch.sub(self.flat, delta, out=self._shifted[0])
        torch.add(self.flat, delta, out=self._shifted[1])
        return self._candidates[0], self.module, self._candidates[1]

    def apply_delta(self, delta: Tensor, sign: float) -> None:
        """Makes a candidate θ: moves the weights by sign · δ [P], sign −1 or 1; moments stay."""
        self.flat.add_(delta, alpha=sign)

    def decays(self, weight_decay: float) -> Tensor:
        """Returns λ of each weight, [P]: the extras have their own, the backbone's `weight_decay`."""
        sizes = [self.module_size, *(math.prod(extra.shape) for extra in self.extras.values())]
        own = [weight_decay, *(extra.weight_decay for extra in self.extras.values())]
        each = torch.tensor(own, dtype=self.packed.dtype).repeat_interleave(torch.tensor(sizes), output_size=self.size)
        return each.to(self.packed)

    def adam_step(self, gradient: Tensor, *, step: int, optimizer: OptimizerConfig) -> None:
        """Takes Adam step t = `step`, counted from 1, with the gradient [P] of the global batch."""
        if not self.size:
            return
        weight_decay = optimizer.weight_decay
        if self.extras:
            # As one update: that of each part alone takes as long as that of all.
            if self._decays is None:
                self._decays = self.decays(weight_decay)
            gradient, weight_decay = gradient.addcmul(self._decays, self.flat), 0.0
        adam_update(
            self.rows,
            gradient.unsqueeze(0),
            step=step,
            learning_rate=optimizer.learning_rate,
            weight_decay=weight_decay,
        )


@torch.no_grad()
def _lay_out(module: Backbone, flat: Tensor) -> None:
    """Moves the parameters into a flat vector, of which they are views from then on."""
    start = 0
    for parameter in module.parameters():
        stop = start + parameter.numel()
        view = flat[start:stop].view_as(parameter)
        view.copy_(parameter)
        parameter.data = view
        start = stop
