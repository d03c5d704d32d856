"""A journal brings every bit of a model back, whoever changed it and however often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from random_batches import part_of_rank, random_batch
from rank_cases import Case, make_learner
from thread_ranks import run_on_threads
from torch import Tensor

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.method_config import InverseDualConfig, InverseGradientConfig
from distributed_il.data.loading.batch import Batch
from distributed_il.methods import make_method
from distributed_il.methods.steps import fused
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.models.undo_journal import UndoJournal, journal_bytes

USERS, ITEMS = 40, 50
IG, IDL = InverseGradientConfig(dual_learning_rate=5e-3), InverseDualConfig(unlabelled_weight=-0.5)


def bits(learner: Learner) -> list[Tensor]:
    tables = [tensor for table in (learner.users, learner.items) for tensor in (table.packed, table.last_step)]
    return [tensor.clone() for tensor in (*tables, learner.tower.packed, torch.tensor(learner.step))]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


def learner_of(ranks: Collectives, **case: Any) -> Learner:
    return make_learner(Case(IG, **case), ranks, num_users=USERS, num_items=ITEMS)


def batches(numbers: range, ranks: Collectives) -> list[Batch]:
    """Of few rows, so that some stay untouched; every third has no unlabelled pairs."""
    made = [
        random_batch(np.random.default_rng(k), rows=7, num_users=USERS, num_items=ITEMS, rate=k % 3) for k in numbers
    ]
    return [part_of_rank(batch, ranks.rank, ranks.world_size) for batch in made]


def take(executor: StepExecutor, numbers: range) -> None:
    """Steps of idl and of ig by turns: plain ones, joined ones, and inverse ones of every decision."""
    methods = make_method(IG), make_method(IDL)
    for k, batch in enumerate(batches(numbers, executor.learner.collectives)):
        methods[k // 3 % 2].step(executor, batch)


def tried_and_taken_back(ranks: Collectives, make: Callable[[Learner], StepExecutor], **case: Any) -> int:
    """Returns how many rows were not touched."""
    learner = learner_of(ranks, **case)
    executor = make(learner)
    take(executor, range(6))
    before = bits(learner)
    with UndoJournal(learner) as journal:
        take(executor, range(6, 12))
        once = bits(learner)
        assert not equal(once, before)
        journal.roll_back()
        assert equal(bits(learner), before)
        take(executor, range(12, 18))  # other rows
        journal.roll_back()
        assert equal(bits(learner), before)
        recorded = {int(number) for ids, *_ in journal_records(learner) for number in ids}
    take(executor, range(6, 12))
    assert equal(bits(learner), once)
    assert learner.users.journal is learner.items.journal is None
    return learner.users.num_rows - len(recorded)


def journal_records(learner: Learner) -> list[tuple[Tensor, ...]]:
    return learner.users.journal._records  # pyright: ignore


CASES = [{}, {"missed_steps": "catch_up"}, {"missed_steps": "catch_up", "factors": True, "backbone": "bias_mf"}]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_process(case: dict[str, Any]) -> None:
    assert tried_and_taken_back(LocalCollectives(), StepExecutor, **case) > 0


@pytest.mark.parametrize("tables", ["replicated", "sharded"])
@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_ranks_take_back_what_the_batches_of_others_touched(case: dict[str, Any], tables: str) -> None:
    run_on_threads(3, lambda ranks: tried_and_taken_back(ranks, StepExecutor, tables=tables, **case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_steps_that_write_by_themselves(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused steps, uncompiled: the same writes in place."""
    monkeypatch.setattr(fused, "compiled", lambda function, **_: function)
    monkeypatch.setattr(fused, "FEWEST", 1)

    def make(learner: Learner) -> StepExecutor:
        executor = StepExecutor(learner)
        executor.compile(print, batch_size=7)
        assert isinstance(executor.fused, fused.FusedSteps)
        return executor

    assert tried_and_taken_back(LocalCollectives(), make, **case) > 0


def test_a_row_is_copied_once_and_the_bytes_are_those_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_of(LocalCollectives())
    executor = StepExecutor(learner)
    with UndoJournal(learner):
        for _ in range(3):
            take(executor, range(2))
        touched = {int(user) for batch in batches(range(2), LocalCollectives()) for user in batch.user_ids}
        pairs = [batch.unlabelled for batch in batches(range(2), LocalCollectives())]
        touched |= {int(user) for one in pairs if one is not None for user in one.user_ids}
        records = journal_records(learner)
        assert sorted(int(number) for ids, *_ in records for number in ids) == sorted(touched)
    # Rows are [w|m|v] of 4 float64 numbers, with a number of 8 bytes, a step of 4 and for every row a mark of 1.
    tower = learner.tower.packed.numel() * 8
    assert journal_bytes(learner, 10) == tower + USERS + ITEMS + 2 * 10 * (3 * 4 * 8 + 12)
    assert journal_bytes(learner, 10**9) == tower + (USERS + ITEMS) * (3 * 4 * 8 + 13)


def test_buffers_of_a_tower_are_rolled_back() -> None:
    learner = learner_of(LocalCollectives())
    learner.tower.module.register_buffer("seen", torch.zeros(2))
    with UndoJournal(learner) as journal:
        dict(learner.tower.module.named_buffers())["seen"].add_(1)
        journal.roll_back()
    assert dict(learner.tower.module.named_buffers())["seen"].tolist() == [0, 0]
