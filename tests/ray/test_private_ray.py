"""What a private Ray of this program is like."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray

from cluster.local.node import descendants

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]


def test_workers_have_the_priority_of_the_process_that_started_ray() -> None:
    niceness = ray.remote(num_cpus=0)(lambda: os.nice(0)).remote()
    assert ray.get(niceness) == os.nice(0)


def test_nobody_collects_metrics() -> None:
    agents = [words for words in (command_line(pid) for pid in descendants(os.getpid())) if "agent.py" in words]
    assert agents
    assert all("--disable-metrics-collection" in words for words in agents)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""  # it has just ended
