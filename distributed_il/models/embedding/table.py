"""Embedding tables: a step gathers, updates and writes back only the rows that it touches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distributed_il.core.config import OptimizerConfig
from distributed_il.core.errors import UserError
from distributed_il.data.loading.index_plan import UniqueIds
from distributed_il.models.embedding.row_adam import Rows, adam_update, catch_up
from distributed_il.models.embedding.row_journal import RowJournal

INIT_CHUNK_ROWS = 65_536
CACHED_BYTES = 1 << 20
"""Of rows that an Adam step takes at a time: gathered, updated and written, they stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class GatheredRows:
    """The distinct rows of one table that a batch touches."""

    plan: UniqueIds  # which rows, and which of them each pair uses
    weight: Tensor  # weights of the rows, [U, dim]; a leaf that gradients flow to
    # the whole rows that `weight` is a view of, [U, 3·dim]; None where only weights were gathered
    packed: Tensor | None = None
    # δ of the rows, [U, dim], 0 where no rank's unlabelled batch touched a row; None outside inverse steps
    delta: Tensor | None = None

    def pairs(self) -> Tensor:
        """Repeats the rows for the pairs of the batch: [U, dim] → [B, dim]."""
        return self.weight.index_select(0, self.plan.inverse)


@dataclass(frozen=True, slots=True)
class RowGradients:
    """The gradient of the global batch by row, the same on every rank."""

    ids: Tensor  # distinct row numbers, ascending, int64 [U]
    gradient: Tensor  # [U, dim]


class EmbeddingTable:
    """One entity's embeddings with their Adam moments, interleaved [w|m|v] so that a row is one visit to memory.

    Attributes:
        rows: Numbers, in the whole table, of the rows held here.
        num_rows: How many they are.
        dim: Width of a row's weights.
        packed: [num_rows, 3·dim]; plain tensor, no Parameter, so that DDP leaves it alone.
        last_step: Step to which each row is brought up to date, int32 [num_rows]; used by `missed_steps: catch_up`.
        packed_and_spare: `packed` with one row of 0 behind it, number num_rows, that batches can be filled up with.
        last_step_and_spare: The same of `last_step`.
        journal: Told of rows before a step changes them; None for nobody.
    """

    journal: RowJournal | None = None

    def __init__(
        self, rows: range, dim: int, *, std: float, seed: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Draws normal weights; each chunk of rows has a generator of its own, so that any part has the whole's rows.

        Args:
            rows: Which rows to hold: first, first + stride, …, below the number of rows of the whole table.
            dim: Width of a row.
            std: Standard deviation of the initial weights.
            seed: Decides them.
            dtype: Floating-point type of weights and moments.
            device: Where the table lives.

        Raises:
            UserError: There is not enough memory.
        """
        self.rows, self.num_rows, self.dim = rows, len(rows), dim
        try:
            self.packed_and_spare = torch.zeros((self.num_rows + 1, 3 * dim), dtype=dtype, device=device)
            self.last_step_and_spare = torch.zeros(self.num_rows + 1, dtype=torch.int32, device=device)
        except RuntimeError as error:
            raise UserError(
                f"no memory for {self.num_rows:,} embedding rows with their moments, "
                f"{3 * self.num_rows * dim * dtype.itemsize / 1e9:,.2f} GB; set model.tables to sharded and "
                f"run.workers to more, or model.embedding_dim lower ({error})"
            ) from error
        self.packed, self.last_step = self.packed_and_spare[:-1], self.last_step_and_spare[:-1]
        filled = 0
        for start in range(0, rows.stop, INIT_CHUNK_ROWS):
            stop = min(start + INIT_CHUNK_ROWS, rows.stop)
            generator = torch.Generator().manual_seed((seed + start) % 2**63)
            weight = torch.empty((stop - start, dim), dtype=dtype).normal_(0, std, generator=generator)
            weight = weight[(rows.start - start) % rows.step :: rows.step]
            self.packed[filled : filled + len(weight), :dim] = weight.to(device)
            filled += len(weight)

    def gather_packed(self, ids: Tensor, *, step: int, optimizer: OptimizerConfig) -> Tensor:
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

    def read(self, ids: Tensor, *, step: int | None, optimizer: OptimizerConfig) -> Tensor:
        """Copies the weights [n, dim] of rows, int64 [n], out, brought up to `step` where that is not None."""
        if step is None or optimizer.missed_steps == "skip":
            return self.weight.index_select(0, ids)
        return self.gather_packed(ids, step=step, optimizer=optimizer)[:, : self.dim]

    def write(self, ids: Tensor, packed: Tensor, *, step: int, optimizer: OptimizerConfig) -> None:
        """Writes whole rows [U, 3·dim] of distinct ids, int64 [U], back, up to date as of `step`."""
        self.announce(ids)
        _write_rows(self.packed, ids, packed)
        if optimizer.missed_steps == "catch_up":
            self.last_step.index_fill_(0, ids, step)

    def announce(self, ids: Tensor) -> None:
        """Tells the journal of rows, int64 [U], that are about to be changed; for steps that write by themselves."""
        if self.journal is not None:
            self.journal.record(ids)

    def gather(self, plan: UniqueIds, *, step: int, optimizer: OptimizerConfig, whole: bool) -> GatheredRows:
        """Gathers the distinct rows of a batch as a leaf for autograd, `whole` where an Adam step on them follows."""
        if whole or optimizer.missed_steps == "catch_up":
            packed = self.gather_packed(plan.ids, step=step, optimizer=optimizer)
            return GatheredRows(plan, packed[:, : self.dim].detach().requires_grad_(), packed)
        return GatheredRows(plan, self.weight.index_select(0, plan.ids).requires_grad_())

    def apply_delta(
        self,
        ids: Tensor,
        delta: Tensor,
        *,
        sign: float,
        step: int,
        optimizer: OptimizerConfig,
        gathered: GatheredRows | None,
    ) -> None:
        """Adds sign · delta to the weights of rows and leaves their moments alone.

        Args:
            ids: Distinct row numbers, int64 [U].
            delta: [U, dim].
            sign: −1 or 1.
            step: Optimiser steps taken so far.
            optimizer: The `optimizer` section of the run.
            gathered: What was gathered of exactly these rows since they were last written; None if nothing was.
        """
        if optimizer.missed_steps == "catch_up":
            packed = gathered.packed if gathered else None
            packed = self.gather_packed(ids, step=step, optimizer=optimizer) if packed is None else packed
            packed[:, : self.dim].add_(delta, alpha=sign)
            self.write(ids, packed, step=step, optimizer=optimizer)
            return
        weight = gathered.weight.detach() if gathered else self.weight.index_select(0, ids)
        self.announce(ids)
        _write_rows(self.weight, ids, torch.add(weight, delta, alpha=sign))

    def adam_step(
        self, gradients: RowGradients, *, step: int, optimizer: OptimizerConfig, packed: Tensor | None = None
    ) -> None:
        """Takes one Adam step on the rows that have a gradient.

        Args:
            gradients: Of the global batch.
            step: t, counted from 1: this step's number.
            optimizer: The `optimizer` section of the run.
            packed: These rows as they stand, [U, 3·dim], if they are at hand; overwritten.
        """
        rows = max(CACHED_BYTES // (self.packed.stride(0) * self.packed.element_size()), 1)
        for start in range(0, gradients.ids.numel(), rows):
            part = slice(start, start + rows)
            ids = gradients.ids[part]
            own = self.gather_packed(ids, step=step - 1, optimizer=optimizer) if packed is None else packed[part]
            adam_update(
                Rows.of(own),
                gradients.gradient[part],
                step=step,
                learning_rate=optimizer.learning_rate,
                weight_decay=optimizer.weight_decay,
            )
            self.write(ids, own, step=step, optimizer=optimizer)

    def materialize(self, *, step: int, optimizer: OptimizerConfig) -> None:
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


def _write_rows(table: Tensor, ids: Tensor, rows: Tensor) -> None:
    """table[ids] = rows, for distinct ids."""
    if table.device.type == "cpu":
        # numpy's write takes two thirds of index_copy_'s time.
        table.numpy()[ids.numpy()] = rows.numpy()
    else:
        table.index_copy_(0, ids, rows)
