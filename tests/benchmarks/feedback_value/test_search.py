"""Draws: the same for every row, in ranges, and such as a run takes."""

from __future__ import annotations

import pytest

from benchmarks.feedback_value.rows import ROWS, Row
from benchmarks.feedback_value.search import OPTIMIZER, draw, points
from distributed_il.core.config import config_from_dict
from distributed_il.data.dataset import Dataset

PLACES = {"data": {"path": "data"}, "run": {"dir": "run"}}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("dense", [True, False])
def test_every_row_has_draws_that_the_config_accepts(row: Row, dense: bool, tiny_dataset: Dataset) -> None:
    settings = [draw(row, number, dataset=tiny_dataset, dense=dense) for number in range(12)]
    configs = [config_from_dict({**PLACES, **setting}) for setting in settings]
    assert len(set(map(repr, configs))) == 12
    for name, (low, high) in OPTIMIZER["dense" if dense else "sparse"].items():
        drawn = [getattr(config.optimizer, name) for config in configs]
        assert low < min(drawn) < 1.3 * low * (high / low) ** 0.1
        assert max(drawn) < high
    plain = [draw(ROWS["none"], number, dataset=tiny_dataset, dense=dense) for number in range(12)]
    assert [setting["optimizer"] for setting in settings] == [setting["optimizer"] for setting in plain]
    logged = row.name.endswith("logged") or row.name == "ig_rounds"
    assert {config.unlabelled.source for config in configs} == {"logged" if logged else "sampled"}


def test_the_first_draw_is_the_middle_and_more_draws_leave_those_before_as_they_were() -> None:
    assert points(1).tolist() == [[0.5] * 6]
    assert points(12)[:3].tolist() == points(3).tolist()
