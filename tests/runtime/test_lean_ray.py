"""What a private Ray is started without, and that other Rays of the process get all of it again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray._private.node import Node
from ray.data._internal.execution import streaming_executor
from ray.data._internal.stats import _StatsManager

from distributed_il.runtime.lean_ray import lean_data, lean_node, replaced


def test_attributes_are_put_back_after_an_error() -> None:
    owner = SimpleNamespace(one=1, two=2)
    with pytest.raises(KeyError), replaced(owner, one=3):
        assert (owner.one, owner.two) == (3, 2)
        raise KeyError
    assert (owner.one, owner.two) == (1, 2)


def test_what_ray_has_no_setting_for_holds_within_the_block_alone() -> None:
    before = Node.start_monitor, streaming_executor.create_cluster_autoscaler, vars(_StatsManager).copy()
    with lean_node(), lean_data():
        assert Node.start_monitor is not before[0]
        assert len(_StatsManager.gen_dataset_id_from_stats_actor()) == 32  # without Ray, which is not there
        _StatsManager.update_execution_metrics("tag", [], [], {})
    assert (Node.start_monitor, streaming_executor.create_cluster_autoscaler, vars(_StatsManager).copy()) == before
