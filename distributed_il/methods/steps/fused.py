"""Whole steps of one process as compiled functions: gathers, passes, Adam and writes without a detour through Python.

Each function does what the eager path does, in the same order; only sums may be rounded otherwise. Between ranks there
are exchanges in a step, so this is for one process; `CompiledPasses` is for several.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from distributed_il.data.features import Codes
from distributed_il.data.loading.index_plan import IndexPlan, Overlap, UniqueIds, rows_at
from distributed_il.methods.losses import inverse_dual_loss, log_loss
from distributed_il.methods.steps.compiled import FEWEST, compiled
from distributed_il.methods.steps.eager import BatchLoss, losses_of, summed_log_loss
from distributed_il.models.embedding.embedding_store import RowDeltas
from distributed_il.models.embedding.factored import MAPS, FactoredStore
from distributed_il.models.embedding.row_adam import BETA1, BETA2, Rows, adam_arithmetic, catch_up
from distributed_il.models.learner import Learner
from distributed_il.models.tower import Tower


class Table(NamedTuple):
    """One table, with its spare row, as steps change it in place."""

    packed: Tensor  # weights and moments, [num_rows + 1, 3·dim]
    last_step: Tensor  # step to which each row is brought up to date, int32 [num_rows + 1]


class Tables(NamedTuple):
    """What steps change in place: the first argument of each compiled function, the same tensors at every call."""

    users: Table
    items: Table
    tower: Tensor  # the tower's weights and moments, [1, 3·P]


class InverseBatch(NamedTuple):
    """A training-test batch with its unlabelled pairs."""

    plan: IndexPlan  # of the labelled rows
    labels: Tensor  # 0 or 1, float [B]
    pairs: IndexPlan  # of the unlabelled pairs
    weight: Tensor  # of each unlabelled pair, float [n]
    overlap: Overlap  # of the two plans
    row_weights: Tensor | None = None  # of the labelled rows, float [B]


class Evaluated(NamedTuple):
    """The candidates of an inverse step before the decision."""

    logits: Tensor  # of the unlabelled pairs, [n]
    sums: Tensor  # sums of log losses of direct, skip and inverse, float64 [3]
    deltas: RowDeltas  # δ of the pairs' user rows and item rows
    tower_delta: Tensor  # δ of the tower, [P]
    pairs: IndexPlan  # the unlabelled pairs that δ came from
    is_filled_up: bool = False  # whether the plan of the pairs is filled up, as a CUDA graph needs it


class FusedSteps:
    """Compiled steps on the tables and the tower of one process."""

    def __init__(self, learner: Learner, warn: Callable[[str], None]) -> None:
        self._optimizer, self._device = learner.optimizer, learner.device
        users, items = (
            Table(table.packed_and_spare, table.last_step_and_spare) for table in (learner.users, learner.items)
        )
        self._tables = Tables(users, items, learner.tower.packed)
        self._factors = _Factors.of(learner)
        arithmetic = _Arithmetic(learner, self._factors)
        self._plain = compiled(arithmetic.plain, any_length=("plan", "labels", "weights"), warn=warn)
        self._evaluate_candidates = compiled(arithmetic.evaluate_candidates, any_length=("batch",), warn=warn)
        self._apply_delta = compiled(arithmetic.apply_delta, any_length=("ids", "deltas"), warn=warn)

    def through(self, wrap: Callable[[Any], Any]) -> FusedSteps:
        """Returns the same steps with each of their three functions wrapped.

        Args:
            wrap: Makes of a function one that does the same; its first argument is the same tensors at every call.
        """
        wrapped = copy.copy(self)
        wrapped._plain, wrapped._apply_delta = wrap(self._plain), wrap(self._apply_delta)
        wrapped._evaluate_candidates = wrap(self._evaluate_candidates)
        return wrapped

    def with_factors(self, plan: IndexPlan) -> IndexPlan:
        """Returns a plan with the exposure factors of its rows, where the compiled functions expect them there."""
        return plan if self._factors is None else self._factors.with_plan(plan)

    @staticmethod
    def fits(labels: Tensor, *plans: IndexPlan) -> bool:
        """Returns whether batches of these lengths are taken by the compiled functions."""
        sides = [side for plan in plans for side in plan]
        return min(len(labels), *(min(len(side.ids), len(side.inverse)) for side in sides)) >= FEWEST

    def plain(
        self,
        plan: IndexPlan,
        labels: Tensor,
        scale: float,
        step: int,
        loss: BatchLoss = summed_log_loss,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Takes the ordinary labelled step, tables and tower in place.

        Args:
            plan: The batch's pairs, unlabelled ones last.
            labels: 0 or 1, float [B].
            scale: Of the loss.
            step: t, counted from 1: this step's number.
            loss: What is minimised; the same function at every call.
            weights: Of the labelled rows, float [B]; None for none.

        Returns:
            Log losses before the step, [B].
        """
        return self._plain(self._tables, self.with_factors(plan), labels, loss, self._scalars(scale, step), weights)

    def evaluate_candidates(
        self, batch: InverseBatch, pair_scale: float, direction: Callable[[Tensor], Tensor], step: int
    ) -> Evaluated:
        """Computes the dual gradient, δ, and the losses of the three candidates; nothing is changed.

        Args:
            batch: Labelled rows and unlabelled pairs.
            pair_scale: Of each dual loss.
            direction: g → α · d(g); the same function at every call.
            step: Optimiser steps taken so far.
        """
        batch = batch._replace(plan=self.with_factors(batch.plan), pairs=self.with_factors(batch.pairs))
        found = self._evaluate_candidates(self._tables, batch, direction, self._scalars(pair_scale, step + 1))
        return Evaluated(*found, batch.pairs)

    def apply_delta(self, evaluated: Evaluated, sign: float, step: int) -> None:
        """Makes θ + sign · δ, sign −1 or 1, the model, tables and tower in place; moments stay."""
        ids = evaluated.pairs.users.ids, evaluated.pairs.items.ids
        signed = self._numbers(sign, step)
        self._apply_delta(self._tables, ids, evaluated.deltas, evaluated.tower_delta, signed)

    def _scalars(self, scale: float, step: int) -> Tensor:
        """Returns scale, t, γ/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ)."""
        return self._numbers(scale, step, self._optimizer.learning_rate / (1 - BETA1**step), (1 - BETA2**step) ** -0.5)

    def _numbers(self, *values: float) -> Tensor:
        """Makes a tensor of numbers that differ from step to step; as numbers they would be compiled in."""
        if self._device.type == "cuda":
            # Out of pinned memory, so that nobody waits for the device.
            return torch.tensor(values, dtype=torch.float64, pin_memory=True).to(self._device, non_blocking=True)
        return torch.tensor(values, dtype=torch.float64, device=self._device)


class _Arithmetic:
    """The functions to compile."""

    def __init__(self, learner: Learner, factors: _Factors | None) -> None:
        tower = learner.tower
        self._module, self._optimizer, self._features = tower.module, learner.optimizer, learner.features
        self._layout = [(name, parameter.shape) for name, parameter in tower.module.named_parameters()]
        self._catches_up = learner.optimizer.missed_steps == "catch_up"
        self._factors = factors
        self._extras = [_place(weight) for weight in learner.method_extras]
        self._tower_decay = learner.tower.decays(learner.optimizer.weight_decay) if learner.tower.extras else None

    def plain(
        self,
        tables: Tables,
        plan: IndexPlan,
        labels: Tensor,
        loss: BatchLoss,
        scalars: Tensor,
        weights: Tensor | None,
    ) -> Tensor:
        step = scalars[1]
        user_rows = self._gather(tables.users, plan.users.ids, step - 1)
        item_rows = self._gather(tables.items, plan.items.ids, step - 1)
        parts = _parts(tables.tower)
        losses, gradients = self._labelled(
            (user_rows.weight, item_rows.weight, parts.weight[0]), plan, (labels, weights), loss, scalars[0]
        )
        self._descend_tower(parts, gradients[2].unsqueeze(0), scalars)
        self._descend(user_rows, gradients[0], scalars)
        self._descend(item_rows, gradients[1], scalars)
        self._write(tables.users, plan.users.ids, user_rows, step)
        self._write(tables.items, plan.items.ids, item_rows, step)
        tables.tower.copy_(_joined(parts))
        return losses

    def evaluate_candidates(
        self, tables: Tables, batch: InverseBatch, direction: Callable[[Tensor], Tensor], scalars: Tensor
    ) -> tuple[Tensor, Tensor, RowDeltas, Tensor]:
        now, (plan, labels, pairs, weight, overlap, row_weights) = scalars[1] - 1, batch
        flat = Rows.of(tables.tower).weight[0]
        leaves = (
            self._weight(tables.users, pairs.users.ids, now),
            self._weight(tables.items, pairs.items.ids, now),
            flat,
        )
        leaves = tuple(leaf.detach().requires_grad_() for leaf in leaves)
        logits = self._logits(leaves[2], *_of_pairs(pairs, *self._effective(pairs, *leaves)), self._codes(pairs))
        dual = (inverse_dual_loss(logits) * weight).sum() * scalars[0]
        user_delta, item_delta, tower_delta = (direction(g) for g in torch.autograd.grad(dual, leaves))
        users, items = (
            self._weight(tables.users, plan.users.ids, now),
            self._weight(tables.items, plan.items.ids, now),
        )
        user, item = _of_pairs(plan, *self._effective(plan, users, items, flat))
        deltas = rows_at(overlap.users, user_delta), rows_at(overlap.items, item_delta)
        by_user, by_item = _of_pairs(plan, *self._effective(plan, *deltas, tower_delta))
        codes = self._codes(plan)
        losses = [
            log_loss(self._logits(flat - tower_delta, user - by_user, item - by_item, codes), labels),
            log_loss(self._logits(flat, user, item, codes), labels),
            log_loss(self._logits(flat + tower_delta, user + by_user, item + by_item, codes), labels),
        ]
        stacked = torch.stack(losses)
        if row_weights is not None:
            stacked = stacked.to(torch.float64) * row_weights
        sums = stacked.sum(dim=1, dtype=torch.float64)
        return logits.detach(), sums, RowDeltas(user_delta, item_delta), tower_delta

    def apply_delta(
        self, tables: Tables, ids: tuple[Tensor, Tensor], deltas: RowDeltas, tower_delta: Tensor, signed: Tensor
    ) -> None:
        for table, rows, delta in ((tables.users, ids[0], deltas.users), (tables.items, ids[1], deltas.items)):
            if self._catches_up:
                gathered = self._gather(table, rows, signed[1])
                gathered.weight.add_(delta * signed[0])
                self._write(table, rows, gathered, signed[1])
            else:
                # Row r's weight is row 3r of the same memory cut three times as fine; written through a slice of
                # columns, the compiler would copy the whole table.
                thirds = table.packed.view(3 * len(table.packed), -1)
                thirds.index_copy_(0, 3 * rows, thirds.index_select(0, 3 * rows) + delta * signed[0])
        parts = _parts(tables.tower)
        parts.weight.add_(tower_delta * signed[0])
        tables.tower.copy_(_joined(parts))

    def _labelled(
        self,
        model: tuple[Tensor, Tensor, Tensor],
        plan: IndexPlan,
        given: tuple[Tensor, Tensor | None],
        loss: BatchLoss,
        scale: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Computes losses, and gradients of user rows, item rows and tower; given are labels and weights."""
        leaves = tuple(weight.detach().requires_grad_() for weight in model)
        logits = self._logits(leaves[2], *_of_pairs(plan, *self._effective(plan, *leaves)), self._codes(plan))
        extras = [_view(leaves[2], *place) for place in self._extras]
        losses, total = losses_of(loss, logits, given[0], extras, given[1])
        return losses.detach(), torch.autograd.grad(total * scale, leaves)

    def _codes(self, plan: IndexPlan) -> Codes:
        """Returns the side features of each pair; a spare row, which no pair uses, has none."""
        if self._features is None:
            return ()
        return self._features.codes(plan.users.row_numbers, plan.items.row_numbers)

    def _logits(self, flat: Tensor, user_rows: Tensor, item_rows: Tensor, codes: Codes) -> Tensor:
        weights: dict[str, Tensor] = {}
        start = 0
        for name, shape in self._layout:
            stop = start + shape.numel()
            weights[name] = flat[start:stop].view(shape)
            start = stop
        return functional_call(self._module, weights, (user_rows, item_rows, *codes))

    def _effective(self, plan: IndexPlan, users: Tensor, items: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the factors' part: w + z·A, or in the same way δ_w + z·δ_A."""
        if self._factors is None:
            return users, items
        return self._factors.added_to(plan, users, items, flat)

    def _descend_tower(self, rows: Rows, gradient: Tensor, scalars: Tensor) -> None:
        if self._tower_decay is None:
            self._descend(rows, gradient, scalars)
        else:
            adam_arithmetic(rows, gradient + self._tower_decay * rows.weight, scalars[2], scalars[3], 0.0)

    def _descend(self, rows: Rows, gradient: Tensor, scalars: Tensor) -> None:
        adam_arithmetic(rows, gradient, scalars[2], scalars[3], self._optimizer.weight_decay)

    def _gather(self, table: Table, ids: Tensor, step: Tensor) -> Rows:
        rows = _parts(table.packed.index_select(0, ids))
        if self._catches_up:
            catch_up(
                rows,
                table.last_step.index_select(0, ids),
                step=step,
                learning_rate=self._optimizer.learning_rate,
                weight_decay=self._optimizer.weight_decay,
            )
        return rows

    def _weight(self, table: Table, ids: Tensor, step: Tensor) -> Tensor:
        if self._catches_up:
            return self._gather(table, ids, step).weight
        return Rows.of(table.packed).weight.index_select(0, ids)

    def _write(self, table: Table, ids: Tensor, rows: Rows, step: Tensor) -> None:
        table.packed.index_copy_(0, ids, _joined(rows))
        if self._catches_up:
            table.last_step.index_copy_(0, ids, step.to(table.last_step.dtype).expand(len(ids)))


class _Factors:
    """Exposure factors of rows, that of a spare row 0, and where their maps A lie in the tower."""

    def __init__(self, store: FactoredStore, tower: Tower) -> None:
        self._sides = store.factors
        self._maps = [_place(tower.extra(name)) for name in MAPS]
        # A GPU gathers within the step; elsewhere z comes with the plan, and no second copy of all rows is held.
        self._z: list[Tensor] | None = None
        if tower.packed.device.type == "cuda":
            whole = [side.of(torch.arange(len(side.raw), device=side.raw.device)) for side in self._sides]
            self._z = [F.pad(z, (0, 0, 0, 1)) for z in whole]

    @classmethod
    def of(cls, learner: Learner) -> _Factors | None:
        """Returns those of a learner, if it has some."""
        store = learner.embeddings
        if not isinstance(store, FactoredStore):
            return None
        return cls(store, learner.tower)

    def with_plan(self, plan: IndexPlan) -> IndexPlan:
        """Returns a plan with z of its rows, where the compiled functions expect it there."""
        if self._z is not None or plan.users.factors is not None:
            return plan
        sides = zip(plan, self._sides, strict=True)
        return IndexPlan(*(of_table._replace(factors=side.of(of_table.ids)) for of_table, side in sides))

    def added_to(self, plan: IndexPlan, users: Tensor, items: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Adds z·A to rows of a plan, A as it lies in a flat vector of the tower."""
        found = [
            torch.addmm(rows, self._of(table, plan[table]), _view(flat, *self._maps[table]))
            for table, rows in enumerate((users, items))
        ]
        return found[0], found[1]

    def _of(self, table: int, side: UniqueIds) -> Tensor:
        if self._z is not None:
            return self._z[table].index_select(0, side.ids)
        assert side.factors is not None
        return side.factors


def _place(extra: Tensor) -> tuple[int, torch.Size]:
    """Returns where extra weights begin in the tower's flat vector, and their shape."""
    return int(extra.storage_offset()), extra.shape


def _view(flat: Tensor, start: int, shape: torch.Size) -> Tensor:
    """Returns weights that lie in a flat vector of the tower."""
    return flat[start : start + shape.numel()].view(shape)


def _of_pairs(plan: IndexPlan, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Repeats distinct rows for the pairs of a batch."""
    return users.index_select(0, plan.users.inverse), items.index_select(0, plan.items.inverse)


def _parts(packed: Tensor) -> Rows:
    """Splits into tensors of their own: what is changed in a view of a whole, the compiler copies whole."""
    return Rows(*(part.clone() for part in packed.chunk(3, dim=1)))


def _joined(rows: Rows) -> Tensor:
    return torch.cat([rows.weight, rows.first, rows.second], dim=1)
