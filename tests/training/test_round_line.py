"""What is said of a round, word for word."""

from __future__ import annotations

import math
from typing import Any

import pytest

from distributed_il.core.config import SelectBy
from distributed_il.evaluation.selection import Selection
from distributed_il.training.round_line import round_line

ENTRY: dict[str, Any] = {
    "round": 7,
    "train_loss": 0.41234,
    "logloss": 0.6,
    "calibrated_logloss": 0.51236,
    "auc": 0.81,
    "gauc": None,
    "ranking": {"ndcg@20": 0.0312},
}


@pytest.mark.parametrize(
    ("select_by", "best", "words"),
    [
        ("calibrated_logloss", True, "valid 0.5124  AUC 0.8100  best"),
        ("logloss", False, "valid 0.6000  AUC 0.8100      "),
        ("auc", True, "valid 0.6000  auc 0.8100  best"),
        ("ndcg@20", True, "valid 0.6000  ndcg@20 0.0312  best"),
        ("gauc", False, "valid 0.6000  gauc –      "),
    ],
)
def test_the_loss_of_valid_and_what_the_choice_is_by(select_by: SelectBy, best: bool, words: str) -> None:
    line = round_line(ENTRY, Selection(select_by), max_rounds=50, best=best, rows_per_s=123_456.0, seconds=12.3)
    assert line == f"round  7/50  train 0.4123  {words}  123.5k/s  12 s"
    assert len(line) <= 80


def test_a_quick_round_and_what_is_not_defined() -> None:
    entry = ENTRY | {"train_loss": math.nan, "auc": None}
    line = round_line(entry, Selection("logloss"), max_rounds=5, best=True, rows_per_s=980.0, seconds=0.26)
    assert line == "round 7/5  train –  valid 0.6000  AUC –  best     980/s  0.3 s"
