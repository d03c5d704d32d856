"""Exposure factors that are gathered with the plans of a window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distributed_il.data.lanes import Schedule
from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.data.loading.windows import BatchMaker, WindowRows
from distributed_il.data.sampling import UnlabelledPairs

USERS, ITEMS, BATCH, STEPS = 30, 20, 8, 3
Z = (torch.arange(USERS * 2.0).reshape(USERS, 2), -torch.arange(ITEMS * 2.0).reshape(ITEMS, 2))


def window(*, joined: bool) -> list[Batch]:
    rng = np.random.default_rng(0)
    rows = BATCH * STEPS
    users, items, others, drawn = (rng.integers(0, size, rows) for size in (USERS, ITEMS, USERS, ITEMS))
    none = np.zeros(rows, dtype=np.bool_)
    maker = BatchMaker(
        USERS,
        ITEMS,
        dtype=torch.float32,
        device=torch.device("cpu"),
        factors=(lambda ids: Z[0][ids], lambda ids: Z[1][ids]),
    )
    return maker.batches(
        WindowRows(
            np.arange(rows),
            users,
            items,
            rng.integers(0, 2, rows),
            range(0, rows + 1, BATCH),
            UnlabelledPairs(others, drawn, ~none, none),
            1,
        ),
        range(STEPS),
        Schedule(rows, BATCH, 1, 1),
        Phase("train", "all", unlabelled=True, joined=joined),
    )


@pytest.mark.parametrize("joined", [False, True])
def test_every_plan_of_a_window_carries_the_factors_of_its_rows(joined: bool) -> None:
    plans = [plan for batch in window(joined=joined) for plan in batch.plans]
    assert len(plans) == STEPS * (1 if joined else 2)
    for plan in plans:
        for side, z in zip(plan, Z, strict=True):
            assert side.factors is not None
            assert torch.equal(side.factors, z[side.ids])
