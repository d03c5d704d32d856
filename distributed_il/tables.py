"""Embedding tables: a step gathers, updates and writes back only the rows that it touches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distributed_il.config import OptimizerConfig
from distributed_il.row_adam import Rows, adam_update, catch_up

INIT_CHUNK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Tile:
    """The distinct rows of one table that a batch touches.

    Attributes:
        ids: Distinct row numbers, ascending, int64 [U].
        inverse: Position in `ids` of each pair's row, int64 [B].
        weight: Weights of the rows, [U, dim]; a leaf that gradients flow to.
    """

    ids: Tensor
    inverse: Tensor
    weight: Tensor

    def pairs(self) -> Tensor:
        """Repeats the rows for the pairs of the batch: [U, dim] → [B, dim]."""
        return self.weight.index_select(0, self.inverse)


@dataclass(frozen=True, slots=True)
class RowGradients:
    """The global batch's gradient by row, the same on every rank.

    Attributes:
        ids: Distinct row numbers, ascending, int64 [U].
        gradient: [U, dim].
    """

    ids: Tensor
    gradient: Tensor


class EmbeddingTable:
    """One entity's embeddings with their Adam moments, interleaved [w|m|v] so that a row is one visit to memory.

    Attributes:
        num_rows: Rows of the table.
        dim: Width of a row's weights.
        packed: [num_rows, 3·dim]; plain tensor, no Parameter, so that DDP leaves it alone.
        last_step: Step to which each row is brought up to date, int32 [num_rows]; used by `missed_steps: catch_up`.
    """

    def __init__(
        self, num_rows: int, dim: int, *, std: float, seed: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Draws normal weights; each chunk of rows has a generator of its own, so a part can be drawn alone.

        Args:
            num_rows: Rows, at least 1.
            dim: Width of a row.
            std: Standard deviation of the initial weights.
            seed: Decides them.
            dtype: Floating-point type of weights and moments.
            device: Where the table lives.
        """
        self.num_rows, self.dim = num_rows, dim
        self.packed = torch.zeros((num_rows, 3 * dim), dtype=dtype, device=device)
        self.last_step = torch.zeros(num_rows, dtype=torch.int32, device=device)
        for start in range(0, num_rows, INIT_CHUNK_ROWS):
            stop = min(start + INIT_CHUNK_ROWS, num_rows)
            generator = torch.Generator().manual_seed((seed + start) % 2**63)
            weight = torch.empty((stop - start, dim), dtype=dtype).normal_(0, std, generator=generator)
            self.packed[start:stop, :dim] = weight.to(device)

    def gather(self, ids: Tensor, *, step: int, optimizer: OptimizerConfig) -> Tensor:
        """Copies rows out, brought up to `step` where the optimiser catches up.

        Args:
            ids: Distinct row numbers, int64 [U].
            step: Optimiser steps taken so far.
            optimizer: The `optimizer` section of the run.

        Returns:
            Packed rows [U, 3·dim].
        """
        packed = self.packed.index_select(0, ids)
        if optimizer.missed_steps == "catch_up":
            self._catch_up(packed, self.last_step.index_select(0, ids), step, optimizer)
        return packed

    def write(self, ids: Tensor, packed: Tensor, *, step: int) -> None:
        """Writes whole rows back, up to date as of `step`.

        Args:
            ids: Distinct row numbers, int64 [U].
            packed: [U, 3·dim].
            step: Optimiser steps taken so far.
        """
        self.packed.index_copy_(0, ids, packed)
        self.last_step.index_fill_(0, ids, step)

    def tile(self, ids: Tensor, *, step: int, optimizer: OptimizerConfig) -> Tile:
        """Gathers the distinct rows of a batch as a leaf for autograd.

        Args:
            ids: A row number for each pair, repeats allowed, int64 [B].
            step: Optimiser steps taken so far.
            optimizer: The `optimizer` section of the run.
        """
        distinct, inverse = torch.unique(ids, return_inverse=True)
        if optimizer.missed_steps == "catch_up":
            weight = self.gather(distinct, step=step, optimizer=optimizer)[:, : self.dim].contiguous()
        else:
            weight = self.packed[:, : self.dim].index_select(0, distinct)
        return Tile(distinct, inverse, weight.requires_grad_())

    def shift(self, ids: Tensor, delta: Tensor, *, step: int, optimizer: OptimizerConfig) -> None:
        """Adds to the weights of rows and leaves their moments alone.

        Args:
            ids: Distinct row numbers, int64 [U].
            delta: [U, dim].
            step: Optimiser steps taken so far.
            optimizer: The `optimizer` section of the run.
        """
        packed = self.gather(ids, step=step, optimizer=optimizer)
        packed[:, : self.dim] += delta
        self.write(ids, packed, step=step)

    def adam_step(self, gradients: RowGradients, *, step: int, optimizer: OptimizerConfig) -> None:
        """Takes one Adam step on the rows that have a gradient.

        Args:
            gradients: Of the global batch.
            step: t, counted from 1: this step's number.
            optimizer: The `optimizer` section of the run.
        """
        packed = self.gather(gradients.ids, step=step - 1, optimizer=optimizer)
        adam_update(
            Rows.of(packed),
            gradients.gradient,
            step=step,
            learning_rate=optimizer.learning_rate,
            weight_decay=optimizer.weight_decay,
        )
        self.write(gradients.ids, packed, step=step)

    def settle(self, *, step: int, optimizer: OptimizerConfig) -> None:
        """Brings every row up to `step`, chunk by chunk, before the whole table is read."""
        if optimizer.missed_steps == "skip":
            return
        for start in range(0, self.num_rows, INIT_CHUNK_ROWS):
            chunk = slice(start, start + INIT_CHUNK_ROWS)
            self._catch_up(self.packed[chunk], self.last_step[chunk], step, optimizer)
        self.last_step.fill_(step)

    @property
    def weight(self) -> Tensor:
        """All weights, a view [num_rows, dim]."""
        return self.packed[:, : self.dim]

    @staticmethod
    def _catch_up(packed: Tensor, last_step: Tensor, step: int, optimizer: OptimizerConfig) -> None:
        catch_up(
            Rows.of(packed),
            last_step,
            step=step,
            learning_rate=optimizer.learning_rate,
            weight_decay=optimizer.weight_decay,
        )
