"""What a private Ray of this program is like."""

from __future__ import annotations

import os

import pytest
import ray

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]


def test_workers_have_the_priority_of_the_process_that_started_ray() -> None:
    niceness = ray.remote(num_cpus=0)(lambda: os.nice(0)).remote()
    assert ray.get(niceness) == os.nice(0)


def test_nobody_collects_metrics() -> None:
    assert [node["MetricsExportPort"] for node in ray.nodes()] == [-1]  # so Ray says that it collects none
