"""Fixtures that several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_datasets import make_small_dataset

from distributed_il.dataset import Dataset


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Makes small random datasets: `make_dataset(name, train=…, valid=…, test=…, unclear=…, seed=…, lanes=…)`."""

    def make(name: str = "dataset", **sizes: Any) -> Dataset:
        return make_small_dataset(tmp_path / name, **sizes)

    return make


@pytest.fixture
def tiny_dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    """40 users, 60 items, 600 / 150 / 200 rows, 100 unclear pairs, 24 lanes."""
    return make_dataset()
