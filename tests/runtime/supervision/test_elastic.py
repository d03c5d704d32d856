"""How many workers a run takes while capacity comes and goes; the cluster is made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.train import ScalingConfig

from distributed_il.runtime.supervision import elastic
from distributed_il.runtime.supervision.elastic import ElasticPolicy, slots


class Cluster:
    """Free CPUs of nodes, those that leave, a clock and a channel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free: dict[str, float] = {}
        self.leaving: set[str] = set()
        self.now = 0.0
        self.checkpoint = 1
        self.asked_to_save = 0
        self.notes: list[str] = []
        monkeypatch.setattr(
            elastic, "available_resources_per_node", lambda: {node: {"CPU": cpus} for node, cpus in self.free.items()}
        )
        monkeypatch.setattr(
            elastic, "cluster_state", SimpleNamespace(get_draining_nodes=lambda: dict.fromkeys(self.leaving, 0))
        )
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=lambda seconds: None)
        monkeypatch.setattr(elastic, "time", clock)
        monkeypatch.setattr(ElasticPolicy, "_maybe_send_resource_request", lambda self: None)
        scaling = ScalingConfig(num_workers=6, resources_per_worker={"CPU": 2.0})
        self.policy = ElasticPolicy(scaling, [2, 3, 6], self, lambda: self.checkpoint)  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        self.notes.append(text)

    def save(self) -> None:
        self.asked_to_save += 1

    def begin(self) -> int | None:
        """Workers to start with, once the capacity is what it will be; None for none."""
        for _ in range(elastic.SETTLED + 1):
            workers = self.ask()
            if workers is not None:
                return workers
        return None

    def ask(self) -> int | None:
        """Workers to start with; None for none yet."""
        return getattr(self.policy.make_decision_for_non_running_worker_group(), "num_workers", None)

    def look(self, present: int) -> int | None:
        """Workers to go on with while some are running; None for those."""
        state: Any = SimpleNamespace(num_workers=present)
        decision = self.policy.make_decision_for_running_worker_group(state, SimpleNamespace())  # type: ignore[arg-type]
        return getattr(decision, "num_workers", None)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_a_place_is_whole_on_one_node() -> None:
    assert slots({"CPU": 7.0, "memory": 1e9}, {"CPU": 2.0}) == 3
    assert slots({"CPU": 7.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}) == 1
    assert slots({"CPU": 7.0}, {"CPU": 2.0, "GPU": 1.0}) == 0


@pytest.mark.parametrize(
    ("free", "workers"),
    [([12.0], 6), ([99.0], 6), ([11.0], 3), ([3.0, 3.0, 3.0], 3), ([4.0], 2), ([3.0], None), ([], None)],
)
def test_it_begins_with_the_most_that_there_is_capacity_for(
    free: list[float], workers: int | None, cluster: Cluster
) -> None:
    cluster.free = dict(zip("abc", free, strict=False))
    assert cluster.begin() == workers


def test_capacity_that_is_given_back_bit_by_bit_is_waited_for(cluster: Cluster) -> None:
    cluster.free = {"a": 4.0}
    assert [cluster.ask() for _ in range(elastic.SETTLED)] == [None] * elastic.SETTLED
    cluster.free = {"a": 12.0}
    assert cluster.ask() == 6
    assert cluster.notes == []


def test_a_node_that_leaves_has_no_room(cluster: Cluster) -> None:
    cluster.free, cluster.leaving = {"a": 12.0, "b": 4.0}, {"a"}
    assert cluster.begin() == 2
    assert cluster.notes == ["going on with 2 of 6 workers"]


def test_a_wait_is_told_once_and_only_if_it_is_long(cluster: Cluster) -> None:
    for _ in range(elastic.NOTED_WAIT - 1):
        assert cluster.ask() is None
    assert cluster.notes == []
    for _ in range(2 * elastic.NOTED_WAIT):
        assert cluster.ask() is None
    assert cluster.notes == ["the cluster has no capacity for 2 workers now; the run waits for it"]


def test_it_grows_once_a_checkpoint_is_there(cluster: Cluster) -> None:
    cluster.free = {"b": 2.0}
    assert cluster.look(present=2) is None
    assert cluster.asked_to_save == 1
    assert cluster.look(present=2) is None
    cluster.checkpoint = 2
    assert cluster.look(present=2) == 3
    assert cluster.asked_to_save == 1


def test_it_grows_without_one_that_does_not_come(cluster: Cluster) -> None:
    cluster.free = {"b": 2.0}
    assert cluster.look(present=2) is None
    cluster.now += elastic.SAVE_WITHIN_S
    assert cluster.look(present=2) == 3


def test_capacity_that_goes_again_is_forgotten(cluster: Cluster) -> None:
    cluster.free = {"b": 2.0}
    assert cluster.look(present=2) is None
    cluster.free = {"b": 0.0}
    cluster.checkpoint = 2
    assert cluster.look(present=2) is None
    cluster.free = {"b": 2.0}
    assert cluster.look(present=2) is None  # not yet time to look
    cluster.now += elastic.CHECK_EVERY_S
    assert cluster.look(present=2) is None
    assert cluster.asked_to_save == 2


def test_capacity_that_makes_no_usable_number_is_left(cluster: Cluster) -> None:
    cluster.free = {"b": 4.0}
    assert cluster.look(present=3) is None
    assert cluster.look(present=6) is None
    assert cluster.asked_to_save == 0
