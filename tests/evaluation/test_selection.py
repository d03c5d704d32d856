"""The metric that rounds and trials are chosen by."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from small_datasets import random_rows, write_dataset

from distributed_il.core.errors import UserError
from distributed_il.evaluation.selection import Selection, check_selection


def test_the_best_value_is_the_lowest_loss_or_the_highest_area() -> None:
    values = [0.7, math.nan, 0.6, 0.9, 0.6, 0.9]
    assert Selection("calibrated_logloss").best(values) == Selection("logloss").best(values) == 2
    assert Selection("auc").best(values) == Selection("gauc").best(values) == 3
    assert Selection("auc").best([math.nan, math.inf]) is None
    assert Selection("auc").best([]) is None
    assert Selection("gauc").superlative == "highest"


def test_a_round_that_was_not_measured_by_the_metric_has_none() -> None:
    round = {"logloss": 0.5, "auc": None}
    assert Selection("logloss").value(round) == 0.5
    assert all(math.isnan(Selection(key).value(round)) for key in ("calibrated_logloss", "auc"))


@pytest.mark.parametrize(
    ("users", "labels", "refused"),
    [
        ([0, 0, 1, 1], [0, 1, 0, 0], ()),
        ([0, 0, 1, 1], [0, 0, 1, 1], ("gauc",)),
        ([0, 0, 1, 1], [1, 1, 1, 1], ("auc", "gauc")),
    ],
)
def test_a_metric_that_valid_does_not_define_is_refused(
    users: list[int], labels: list[int], refused: tuple[str, ...], tmp_path: Path
) -> None:
    rows = random_rows(np.random.default_rng(0), 2, 8, {"train": 4, "valid": 4, "test": 4})
    rows["valid"]["user_id"][:], rows["valid"]["label"][:] = users, labels
    dataset = write_dataset(tmp_path / "data", rows, num_users=2, num_items=8, lanes=2)
    for key in ("calibrated_logloss", "logloss", "auc", "gauc"):
        if key in refused:
            with pytest.raises(UserError, match=rf"run\.select_by is {key}, but .* set run\.select_by to calibrated"):
                check_selection(Selection(key), dataset)
        else:
            check_selection(Selection(key), dataset)
