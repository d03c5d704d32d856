"""The dense tower of a backbone, laid out flat: one vector of weights, with its moments, like one row of a table."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import OptimizerConfig
from distributed_il.core.shared_memory import NodeCollectives
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.row_adam import Rows, adam_update

DDP_FROM_PARAMETERS = 4096
"""Below this many parameters DDP's own work costs more than the step; such a tower travels with the row gradients."""


class Tower:
    """A backbone whose parameters are views of one flat vector: a step on all of them is a step on one tensor.

    Attributes:
        module: The backbone.
        parameters: Its parameters.
        packed: Weights and both Adam moments, [1, 3·P].
        rows: Views of `packed`, [1, P] each.
        replica: What labelled steps call where DDP averages the gradients; None where it does not.
    """

    def __init__(self, module: Backbone, *, dtype: torch.dtype, device: torch.device, collectives: Collectives) -> None:
        """Lays a backbone out flat.

        Args:
            module: The backbone; its parameters' storage is replaced.
            dtype: Of its parameters.
            device: Where it lives.
            collectives: The ranks; DDP wraps a tower that is large enough where they talk over a network.
        """
        self.module = module.to(device)
        self.parameters = list(self.module.parameters())
        size = sum(parameter.numel() for parameter in self.parameters)
        self.packed = torch.zeros((1, 3 * size), dtype=dtype, device=device)
        self.rows = Rows.of(self.packed) if size else Rows(self.packed, self.packed, self.packed)
        _lay_out(self.module, self.flat)
        self._candidates: tuple[Backbone, Backbone] | None = None
        self._shifted = torch.zeros((2, size), dtype=dtype, device=device)
        self.replica: DistributedDataParallel | None = (
            DistributedDataParallel(self.module, gradient_as_bucket_view=True)
            if collectives.world_size > 1
            and size >= DDP_FROM_PARAMETERS
            # In memory the gradient travels with the rows at less than DDP costs, with a hook into memory, too.
            and not isinstance(collectives, NodeCollectives)
            else None
        )

    @property
    def size(self) -> int:
        """P, its parameters."""
        return self.flat.numel()

    @property
    def flat(self) -> Tensor:
        """All weights, a view [P]."""
        return self.rows.weight[0]

    def state(self) -> dict[str, Tensor]:
        """Weights, moments (`name#first`, `name#second`) and buffers by name: views, to be read or written."""
        found: dict[str, Tensor] = {}
        start = 0
        for name, parameter in self.module.named_parameters():
            stop = start + parameter.numel()
            found[name] = parameter.detach()
            found[f"{name}#first"] = self.rows.first[0, start:stop].view_as(parameter)
            found[f"{name}#second"] = self.rows.second[0, start:stop].view_as(parameter)
            start = stop
        found |= {f"{name}#buffer": buffer for name, buffer in self.module.named_buffers()}
        return found

    def flatten(self, gradients: Sequence[Tensor]) -> Tensor:
        """Joins gradients of the parameters, in their order: [P]."""
        if not gradients:
            return torch.zeros_like(self.flat)
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    def take_gradient(self) -> Tensor:
        """The gradients that a backward pass left in the parameters, [P]; they are cleared."""
        flat = self.flatten([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        for parameter in self.parameters:
            parameter.grad = None
        return flat

    def candidates(self, delta: Tensor) -> tuple[Backbone, Backbone, Backbone]:
        """The towers θ − δ, θ and θ + δ; the outer two are written anew at each call.

        Args:
            delta: δ [P].
        """
        if self._candidates is None:
            self._candidates = (copy.deepcopy(self.module), copy.deepcopy(self.module))
            for tower, weights in zip(self._candidates, self._shifted, strict=True):
                _lay_out(tower, weights)
        torch.sub(self.flat, delta, out=self._shifted[0])
        torch.add(self.flat, delta, out=self._shifted[1])
        return self._candidates[0], self.module, self._candidates[1]

    def shift(self, delta: Tensor, sign: float) -> None:
        """Makes a candidate θ: weights move by sign · δ, moments stay.

        Args:
            delta: δ [P].
            sign: −1 or 1.
        """
        self.flat.add_(delta, alpha=sign)

    def adam_step(self, gradient: Tensor, *, step: int, optimizer: OptimizerConfig) -> None:
        """Takes one Adam step.

        Args:
            gradient: Of the global batch, [P].
            step: t, counted from 1.
            optimizer: The `optimizer` section of the run.
        """
        if not self.size:
            return
        adam_update(
            self.rows,
            gradient.unsqueeze(0),
            step=step,
            learning_rate=optimizer.learning_rate,
            weight_decay=optimizer.weight_decay,
        )


@torch.no_grad()
def _lay_out(module: Backbone, flat: Tensor) -> None:
    """Moves the parameters into a flat vector, of which they are views from then on."""
    start = 0
    for parameter in module.parameters():
        stop = start + parameter.numel()
        place = flat[start:stop].view_as(parameter)
        place.copy_(parameter)
        parameter.data = place
        start = stop
