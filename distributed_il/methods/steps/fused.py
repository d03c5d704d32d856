"""Whole steps of one process as compiled functions: gathers, passes, Adam and writes without a detour through Python.

Each function is what the eager path does, in the same order; only sums may be rounded otherwise. Between ranks there
are exchanges in a step, so this is for one process; `compiled_passes` is for several.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from distributed_il.core.config import OptimizerConfig
from distributed_il.data.features import Codes, Features
from distributed_il.data.loading.index_plan import IndexPlan, Overlap
from distributed_il.methods.losses import inverse_dual_loss, log_loss
from distributed_il.methods.steps.compiled import compiled
from distributed_il.models.embedding.row_adam import BETA1, BETA2, Rows, adam_arithmetic, catch_up
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.models.tower import Tower

_ROWS = ("user_ids", "item_ids", "user_inverse", "item_inverse")
ANY_LENGTH = (
    *_ROWS,
    *(f"pair_{name}" for name in _ROWS),
    *("weight", "labels", "user_overlap", "item_overlap", "user_delta", "item_delta"),
)
"""Arguments whose length differs from batch to batch."""
FEWEST = 2
"""Lengths of 0 and 1 would each be compiled apart; such batches are left to the eager path."""
STATE = 5
"""Each function's first arguments, the same at every call: tables, their last steps, tower."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an inverse step knows before it decides.

    Attributes:
        logits: Of the unlabelled pairs, [n].
        sums: Sums of log losses of direct, skip and inverse, float64 [3].
        deltas: δ of the pairs' user rows and item rows and of the tower.
    """

    logits: Tensor
    sums: Tensor
    deltas: tuple[Tensor, Tensor, Tensor]


class FusedSteps:
    """Compiled steps on the tables and the tower of one process."""

    def __init__(
        self,
        users: EmbeddingTable,
        items: EmbeddingTable,
        tower: Tower,
        optimizer: OptimizerConfig,
        say: Callable[[str], None],
        features: Features | None = None,
    ) -> None:
        """Prepares compilation; it happens at the first call of each function.

        Args:
            users: The user table.
            items: The item table.
            tower: The tower.
            optimizer: The `optimizer` section of the run.
            say: Told why compilation failed, if it does.
            features: Side features that the backbone is given, if any.
        """
        self._optimizer, self._device = optimizer, tower.packed.device
        tables = (users.packed_and_spare, items.packed_and_spare, users.last_step_and_spare, items.last_step_and_spare)
        self._state = (*tables, tower.packed)
        arithmetic = _Arithmetic(tower, optimizer, features)
        self._plain = compiled(arithmetic.plain, any_length=ANY_LENGTH, say=say)
        self._look = compiled(arithmetic.look, any_length=ANY_LENGTH, say=say)
        self._shift = compiled(arithmetic.shift, any_length=ANY_LENGTH, say=say)

    def through(self, wrap: Callable[[Any], Any]) -> FusedSteps:
        """The same steps with each of their three functions wrapped.

        Args:
            wrap: Makes of a function one that does the same; its first `STATE` arguments never change.
        """
        wrapped = copy.copy(self)
        wrapped._plain, wrapped._look, wrapped._shift = wrap(self._plain), wrap(self._look), wrap(self._shift)
        return wrapped

    @staticmethod
    def fits(*plans: IndexPlan) -> bool:
        """Whether batches of these plans are of lengths that the compiled functions take."""
        return all(
            min(len(side.ids), len(side.inverse)) >= FEWEST for plan in plans for side in (plan.users, plan.items)
        )

    def plain(self, plan: IndexPlan, labels: Tensor, scale: float, step: int) -> Tensor:
        """The ordinary labelled step, tables and tower in place.

        Args:
            plan: The batch's pairs.
            labels: 0 or 1, float [B].
            scale: Of each loss.
            step: t, counted from 1: this step's number.

        Returns:
            Log losses before the step, [B].
        """
        return self._plain(*self._state, *_tensors(plan), labels, self._scalars(scale, step))

    def look(
        self,
        pairs: IndexPlan,
        weight: Tensor,
        pair_scale: float,
        plan: IndexPlan,
        overlap: Overlap,
        labels: Tensor,
        direction: Callable[[Tensor], Tensor],
        step: int,
    ) -> Look:
        """The dual gradient, δ, and the losses of the three candidates; nothing is changed.

        Args:
            pairs: The unlabelled pairs.
            weight: Of each unlabelled pair, float [n].
            pair_scale: Of each dual loss.
            plan: The training-test batch's pairs.
            overlap: Of the two.
            labels: 0 or 1, float [B].
            direction: g → α · d(g); the same function at every call.
            step: Optimiser steps taken so far.
        """
        scalars = self._scalars(pair_scale, step + 1)
        logits, sums, deltas = self._look(
            *self._state,
            *_tensors(pairs),
            weight,
            *_tensors(plan),
            overlap.users,
            overlap.items,
            labels,
            direction,
            scalars,
        )
        return Look(logits, sums, deltas)

    def shift(self, look: Look, sign: float, pairs: IndexPlan, step: int) -> None:
        """Makes θ + sign · δ the model, tables and tower in place; moments stay.

        Args:
            look: From `look`.
            sign: −1 or 1.
            pairs: The unlabelled pairs.
            step: Optimiser steps taken so far.
        """
        self._shift(*self._state, pairs.users.ids, pairs.items.ids, *look.deltas, self._numbers(sign, step))

    def _scalars(self, scale: float, step: int) -> Tensor:
        """scale, t, γ/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ)."""
        return self._numbers(scale, step, self._optimizer.learning_rate / (1 - BETA1**step), (1 - BETA2**step) ** -0.5)

    def _numbers(self, *values: float) -> Tensor:
        """A tensor of numbers that differ from step to step; as numbers they would be compiled in."""
        if self._device.type == "cuda":
            # Out of pinned memory, so that nobody waits for the device.
            return torch.tensor(values, dtype=torch.float64, pin_memory=True).to(self._device, non_blocking=True)
        return torch.tensor(values, dtype=torch.float64, device=self._device)


class _Arithmetic:
    """The functions that are compiled; tables come first: packed users, packed items, their last steps, the tower."""

    def __init__(self, tower: Tower, optimizer: OptimizerConfig, features: Features | None) -> None:
        self._module, self._optimizer, self._features = tower.module, optimizer, features
        self._layout = [(name, parameter.shape) for name, parameter in tower.module.named_parameters()]
        self._catches_up = optimizer.missed_steps == "catch_up"

    def plain(
        self,
        users: Tensor,
        items: Tensor,
        users_last: Tensor,
        items_last: Tensor,
        tower: Tensor,
        user_ids: Tensor,
        item_ids: Tensor,
        user_inverse: Tensor,
        item_inverse: Tensor,
        labels: Tensor,
        scalars: Tensor,
    ) -> Tensor:
        step = scalars[1]
        user_rows = self._gather(users, users_last, user_ids, step - 1)
        item_rows = self._gather(items, items_last, item_ids, step - 1)
        parts = _parts(tower)
        codes = self._codes(user_ids, item_ids, user_inverse, item_inverse)
        losses, gradients = self._labelled(
            (user_rows.weight, item_rows.weight, parts.weight[0]), user_inverse, item_inverse, labels, scalars[0], codes
        )
        self._descend(parts, gradients[2].unsqueeze(0), scalars)
        self._descend(user_rows, gradients[0], scalars)
        self._descend(item_rows, gradients[1], scalars)
        self._write(users, users_last, user_ids, user_rows, step)
        self._write(items, items_last, item_ids, item_rows, step)
        tower.copy_(_joined(parts))
        return losses

    def look(
        self,
        users: Tensor,
        items: Tensor,
        users_last: Tensor,
        items_last: Tensor,
        tower: Tensor,
        pair_user_ids: Tensor,
        pair_item_ids: Tensor,
        pair_user_inverse: Tensor,
        pair_item_inverse: Tensor,
        weight: Tensor,
        user_ids: Tensor,
        item_ids: Tensor,
        user_inverse: Tensor,
        item_inverse: Tensor,
        user_overlap: Tensor,
        item_overlap: Tensor,
        labels: Tensor,
        direction: Callable[[Tensor], Tensor],
        scalars: Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        now = scalars[1] - 1
        flat = Rows.of(tower).weight[0]
        leaves = (
            self._weight(users, users_last, pair_user_ids, now),
            self._weight(items, items_last, pair_item_ids, now),
            flat,
        )
        leaves = tuple(leaf.detach().requires_grad_() for leaf in leaves)
        logits = self._logits(
            leaves[2],
            leaves[0].index_select(0, pair_user_inverse),
            leaves[1].index_select(0, pair_item_inverse),
            self._codes(pair_user_ids, pair_item_ids, pair_user_inverse, pair_item_inverse),
        )
        dual = (inverse_dual_loss(logits) * weight).sum() * scalars[0]
        user_delta, item_delta, tower_delta = (direction(g) for g in torch.autograd.grad(dual, leaves))
        user_shift, item_shift = _at(user_overlap, user_delta), _at(item_overlap, item_delta)
        user = self._weight(users, users_last, user_ids, now).index_select(0, user_inverse)
        item = self._weight(items, items_last, item_ids, now).index_select(0, item_inverse)
        by_user, by_item = user_shift.index_select(0, user_inverse), item_shift.index_select(0, item_inverse)
        codes = self._codes(user_ids, item_ids, user_inverse, item_inverse)
        losses = [
            log_loss(self._logits(flat - tower_delta, user - by_user, item - by_item, codes), labels),
            log_loss(self._logits(flat, user, item, codes), labels),
            log_loss(self._logits(flat + tower_delta, user + by_user, item + by_item, codes), labels),
        ]
        sums = torch.stack(losses).sum(dim=1, dtype=torch.float64)
        return logits.detach(), sums, (user_delta, item_delta, tower_delta)

    def shift(
        self,
        users: Tensor,
        items: Tensor,
        users_last: Tensor,
        items_last: Tensor,
        tower: Tensor,
        pair_user_ids: Tensor,
        pair_item_ids: Tensor,
        user_delta: Tensor,
        item_delta: Tensor,
        tower_delta: Tensor,
        signed: Tensor,
    ) -> None:
        for table, last, ids, delta in (
            (users, users_last, pair_user_ids, user_delta),
            (items, items_last, pair_item_ids, item_delta),
        ):
            if self._catches_up:
                rows = self._gather(table, last, ids, signed[1])
                rows.weight.add_(delta * signed[0])
                self._write(table, last, ids, rows, signed[1])
            else:
                # Row r's weight is row 3r of the same memory cut three times as fine; written through a slice of
                # columns, the compiler would copy the whole table.
                thirds = table.view(3 * len(table), -1)
                thirds.index_copy_(0, 3 * ids, thirds.index_select(0, 3 * ids) + delta * signed[0])
        parts = _parts(tower)
        parts.weight.add_(tower_delta * signed[0])
        tower.copy_(_joined(parts))

    def _labelled(
        self,
        weights: tuple[Tensor, Tensor, Tensor],
        user_inverse: Tensor,
        item_inverse: Tensor,
        labels: Tensor,
        scale: Tensor,
        codes: Codes,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Losses, and gradients of user rows, item rows and tower."""
        leaves = tuple(weight.detach().requires_grad_() for weight in weights)
        rows = leaves[0].index_select(0, user_inverse), leaves[1].index_select(0, item_inverse)
        logits = self._logits(leaves[2], *rows, codes)
        losses = log_loss(logits, labels)
        return losses.detach(), torch.autograd.grad(losses.sum() * scale, leaves)

    def _codes(self, user_ids: Tensor, item_ids: Tensor, user_inverse: Tensor, item_inverse: Tensor) -> Codes:
        """Side features of each pair; a spare row, which no pair uses, has none."""
        if self._features is None:
            return ()
        return self._features.codes(user_ids.index_select(0, user_inverse), item_ids.index_select(0, item_inverse))

    def _logits(self, flat: Tensor, user_rows: Tensor, item_rows: Tensor, codes: Codes) -> Tensor:
        weights: dict[str, Tensor] = {}
        start = 0
        for name, shape in self._layout:
            stop = start + shape.numel()
            weights[name] = flat[start:stop].view(shape)
            start = stop
        return functional_call(self._module, weights, (user_rows, item_rows, *codes))

    def _descend(self, rows: Rows, gradient: Tensor, scalars: Tensor) -> None:
        adam_arithmetic(rows, gradient, scalars[2], scalars[3], self._optimizer.weight_decay)

    def _gather(self, table: Tensor, last: Tensor, ids: Tensor, step: Tensor) -> Rows:
        rows = _parts(table.index_select(0, ids))
        if self._catches_up:
            catch_up(
                rows,
                last.index_select(0, ids),
                step=step,
                learning_rate=self._optimizer.learning_rate,
                weight_decay=self._optimizer.weight_decay,
            )
        return rows

    def _weight(self, table: Tensor, last: Tensor, ids: Tensor, step: Tensor) -> Tensor:
        if self._catches_up:
            return self._gather(table, last, ids, step).weight
        return Rows.of(table).weight.index_select(0, ids)

    def _write(self, table: Tensor, last: Tensor, ids: Tensor, rows: Rows, step: Tensor) -> None:
        table.index_copy_(0, ids, _joined(rows))
        if self._catches_up:
            last.index_copy_(0, ids, step.to(last.dtype).expand(len(ids)))


def _parts(packed: Tensor) -> Rows:
    """Weights and moments as tensors of their own: what is changed in a view of a whole, the compiler copies whole."""
    return Rows(*(part.clone() for part in packed.chunk(3, dim=1)))


def _joined(rows: Rows) -> Tensor:
    return torch.cat([rows.weight, rows.first, rows.second], dim=1)


def _at(places: Tensor, delta: Tensor) -> Tensor:
    """δ of the rows at some places: [U, dim], 0 where the place is −1."""
    return delta.index_select(0, places.clamp(min=0)) * (places >= 0).unsqueeze(1)


def _tensors(plan: IndexPlan) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return plan.users.ids, plan.items.ids, plan.users.inverse, plan.items.inverse
