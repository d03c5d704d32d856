"""Capacity for workers on a Ray of four CPUs and no GPU."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from distributed_il.core.config import RunConfig
from distributed_il.core.errors import UserError
from distributed_il.runtime import capacity
from distributed_il.runtime.capacity import wait_for_capacity

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]


@pytest.fixture(scope="module", autouse=True)
def nobody_else(private_ray: None) -> None:
    """What ran before has left."""
    everything = ray.util.placement_group([{"CPU": 4.0}])
    assert everything.wait(120)
    ray.util.remove_placement_group(everything)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are told of the waiting: at once."""
    monkeypatch.setattr(capacity, "AT_ONCE_S", 0.0)


def ask(limit_s: float | None, stopped: Any = lambda: False, **run: Any) -> list[str]:
    """What a run is told while it waits."""
    notes: list[str] = []
    config = RunConfig(dir="run", **run)
    wait_for_capacity(config, workers=config.workers, limit_s=limit_s, note=notes.append, stopped=stopped)
    return notes


def test_where_there_is_capacity_nothing_is_said_and_nothing_kept() -> None:
    for _ in range(3):
        assert ask(30.0, workers=2, threads_per_worker=2) == []


@pytest.mark.usefixtures("soon")
def test_what_is_wanted_and_what_there_is_are_said_with_the_cure() -> None:
    with pytest.raises(
        UserError, match=r"no capacity for 5 workers of 1 CPU each: it has 4 CPUs .*lower run.workers"
    ) as caught:
        ask(0.0, workers=5)
    assert "run.wait_for_workers_s" in str(caught.value)


@pytest.mark.usefixtures("soon")
def test_a_worker_has_to_fit_on_one_node_with_its_gpu() -> None:
    with pytest.raises(UserError, match="1 worker of 5 CPUs each"):
        ask(0.0, threads_per_worker=5)
    with pytest.raises(UserError, match="1 worker of 1 CPU and 1 GPU each"):
        ask(0.0, use_gpu=True)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("limit_s", "words"), [(60.0, "waiting up to 60 s for capacity"), (None, "waiting for capacity")]
)
def test_capacity_that_comes_is_taken(limit_s: float | None, words: str) -> None:
    others = ray.util.placement_group([{"CPU": 3.0}])
    assert others.wait(30)
    looks: list[int] = []

    def free_at_the_third_look() -> bool:
        looks.append(len(looks))
        if len(looks) == 3:
            ray.util.remove_placement_group(others)
        return False

    (note,) = ask(limit_s, free_at_the_third_look, workers=3)
    assert note.startswith(words)
    assert "(1 free)" in note


@pytest.mark.usefixtures("soon")
def test_who_is_told_to_stop_waits_no_more() -> None:
    ask(1.0, lambda: True, workers=100)
