"""One private Ray for all tests of this folder, one small dataset, and a run over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from small_runs import exact_run, write_small_dataset

from distributed_il.data.dataset import Dataset
from distributed_il.runtime.launch import launch
from distributed_il.runtime.session import ray_session


@pytest.fixture(scope="session")
def private_ray() -> Iterator[None]:
    with ray_session(cpus=4):
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_small_dataset(tmp_path_factory.mktemp("small") / "dataset")


@pytest.fixture(scope="session")
def undisturbed(private_ray: None, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of two workers that nobody hinders: its configuration and result."""
    config = exact_run(dataset, tmp_path_factory.mktemp("undisturbed") / "run")
    return config, launch(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("ray"):  # Ray warns of its own use of what it has deprecated
            item.add_marker(pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\."))
