"""Fixtures that several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_datasets import make_small_dataset

from distributed_il.dataset import Dataset


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For two processes of pytest-xdist: a file keeps its fixtures, and tests on Ray, the longest, come first.

    All tests on Ray share one private Ray, and cores that two would fight for.
    """
    for item in items:
        on_ray = item.get_closest_marker("ray") or item.get_closest_marker("cluster")
        item.add_marker(pytest.mark.xdist_group("ray" if on_ray else item.path.name))
    items.sort(key=lambda item: not item.get_closest_marker("ray"))


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
