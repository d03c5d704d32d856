"""A worker that dies or hangs while its group starts: the next group starts, and finds capacity."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from distributed_il.runtime.run_channel import RunChannel
from distributed_il.runtime.supervision import StandingGroup, SupervisedTrainer
from distributed_il.training.checkpoint import CheckpointStore

# Of the cluster's tests, because a start is given up only after a minute.
pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

EVERY_CPU = {"CPU": 2.0}
"""Of two workers on a Ray of four: what a group that failed keeps, the next one lacks."""


def saboteur(moment: str, number: signal.Signals) -> WorkerGroupCallback:
    """Sends a signal to the last worker of the first group at a moment of its start."""

    class Saboteur(WorkerGroupCallback):  # nested, so that it travels by value
        done = False

        def before_init_train_context(self, workers: Any) -> Any:
            self.strike("context", workers)
            return {}

        def after_worker_group_start(self, worker_group: Any) -> None:
            self.strike("work", worker_group.get_workers())

        def strike(self, now: str, workers: Any) -> None:
            import os

            if now == moment and not self.done:
                self.done = True
                os.kill(workers[-1].metadata.pid, number)

    return Saboteur()


@pytest.mark.parametrize(
    ("moment", "number"),
    [("context", signal.SIGKILL), ("work", signal.SIGKILL), ("context", signal.SIGSTOP), ("work", signal.SIGSTOP)],
)
def test_the_group_after_it_trains(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    def train(arguments: dict[str, str]) -> None:  # nested likewise
        import torch
        import torch.distributed as dist

        ranks = torch.tensor([1.0])
        dist.all_reduce(ranks)
        Path(arguments["done"]).write_text(f"{int(ranks)} ranks")

    channel = RunChannel()
    SupervisedTrainer(
        train,
        channel=channel,
        counts=[2],
        store=CheckpointStore(str(tmp_path)),
        hung_after_s=10.0,
        train_loop_config={"done": str(tmp_path / "done")},
        torch_config=StandingGroup(backend="gloo", timeout_s=5),
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker=EVERY_CPU),
        run_config=RunConfig(
            storage_path=str(tmp_path),
            name="start",
            failure_config=FailureConfig(max_failures=1),
            callbacks=[saboteur(moment, number)],  # type: ignore[list-item]
        ),
    ).fit()
    assert (tmp_path / "done").read_text() == "2 ranks"
    (note,) = channel.update().notes
    assert note.startswith("workers did not start: ")
