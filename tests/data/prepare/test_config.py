"""Options that contradict each other or are out of range are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.prepare import PrepareConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_share": 0.0}, r"train_share 0\.0"),
        ({"valid_share": 0.4}, "sum must be below 1"),
        ({"valid_share": -0.1}, "must be above 0"),
        ({"positive_above": float("nan")}, "positive_above is nan"),
        ({"negative_below": float("inf")}, "negative_below is inf"),
        ({"negative_below": 3}, "negative_below 3 is greater than positive_above 2"),
        ({"negative_below": 2, "rule": "binary"}, "negative_below is given, and rule is binary"),
        ({"train": "a.csv"}, "only train is given"),
        ({"train": "a.csv", "valid": "b.csv"}, "only train and valid is given"),
        ({"delimiter": ""}, "delimiter is ''; it must be one or several characters"),
        ({"columns": ["user", "item"], "no_header": False}, "no_header is false; give one of them"),
        ({"columns": ["user", "user"]}, "columns names 'user' twice"),
        ({"encoding": "latin-99"}, "encoding is 'latin-99'"),
        ({"seed": -1}, "seed is -1"),
        ({"user_column": "item_id"}, "must be four names"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PrepareConfig(source="in", output="out", **options)


def test_the_defaults_stand() -> None:
    config = PrepareConfig(source="in", output="out")
    assert (config.train_share, config.valid_share, config.lanes) == (0.6, 0.2, 24)
