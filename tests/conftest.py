"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from small_datasets import make_small_dataset
from xdist.scheduler import LoadScopeScheduling

from distributed_il.data.dataset import Dataset

ON_RAY = "tests/runtime/on_ray/"
FIRST = ("tests/cluster/", "tests/runtime/jobs/", ON_RAY, "tests/methods/steps/test_compiled.py")
"""Tests of clusters count all processes that theirs has started, before a Ray of its own is among them. Of the others
the longest: what begins last must not be what takes longest."""

# The same tries in every run and on a loaded machine: `benchmarks.fuzz_prepare` looks further.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


class ByFile(LoadScopeScheduling):
    """A file goes to one process, with its fixtures; those on Ray all to one: two Rays would fight for cores."""

    def _split_scope(self, nodeid: str) -> str:
        return ON_RAY if nodeid.startswith(ON_RAY) else nodeid.partition("::")[0]


def pytest_configure() -> None:
    """Beside another process that computes, threads that wait for each other cost more than they bring."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """For `-n`; files are given out in the order of the collection."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts them by `FIRST`."""

    def place(item: pytest.Item) -> int:
        return next((k for k, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))

    items.sort(key=place)


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
