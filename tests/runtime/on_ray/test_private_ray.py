"""What a private Ray of this program is like, and who gets in."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
import ray
import ray._private.state as ray_state
import ray._private.worker  # finds psutil, which Ray brings

import psutil  # isort: skip
from ray._raylet import AuthenticationTokenLoader
from ray.train import RunConfig, ScalingConfig

from distributed_il.runtime.run_channel import RunChannel
from distributed_il.runtime.supervision import StandingGroup, SupervisedTrainer
from distributed_il.training.checkpoint import CheckpointStore

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
METHODS = [
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.ReporterService/GetTraceback",
]
"""One of each kind of process: GCS, raylet, object store, worker, agent."""


def listening() -> set[tuple[str, int]]:
    """Addresses at which this process and those below it listen."""
    found = set[tuple[str, int]]()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            connections = process.net_connections(kind="inet")
        except psutil.Error:
            continue  # it has ended
        found |= {one.laddr for one in connections if one.status == psutil.CONN_LISTEN}
    return found


def test_workers_have_the_priority_of_the_process_that_started_ray() -> None:
    niceness = ray.remote(num_cpus=0)(lambda: os.nice(0)).remote()
    assert ray.get(niceness) == os.nice(0)


def test_nobody_collects_metrics() -> None:
    assert [node["MetricsExportPort"] for node in ray.nodes()] == [-1]  # so Ray says that it collects none


def test_nothing_listens_beyond_loopback_while_ranks_train(tmp_path: Path) -> None:
    def train(arguments: dict[str, str]) -> None:  # nested, so that it travels by value
        import torch
        import torch.distributed as dist

        ranks = torch.tensor([1.0])
        dist.all_reduce(ranks)
        own = psutil.Process().net_connections(kind="inet")
        told = [int(ranks), *(one.laddr.ip for one in own if one.status == psutil.CONN_LISTEN)]
        Path(arguments["told"], str(dist.get_rank())).write_text(json.dumps(told))

    trainer = SupervisedTrainer(
        train,
        channel=RunChannel(),
        counts=[2],
        store=CheckpointStore(str(tmp_path / "run")),
        hung_after_s=60,
        train_loop_config={"told": str(tmp_path)},
        torch_config=StandingGroup(backend="gloo", timeout_s=60),
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1.0}),
        run_config=RunConfig(storage_path=str(tmp_path / "ray")),
    )
    trainer.fit()
    for rank in range(2):
        ranks, *addresses = json.loads((tmp_path / str(rank)).read_text())
        assert ranks == 2
        assert set(addresses) == LOOPBACK & set(addresses) != set()
    assert {address for address, _ in listening()} <= LOOPBACK


def test_no_request_is_served_without_the_token() -> None:
    token = AuthenticationTokenLoader.instance().get_raw_token()
    refused = dict[str, set[str]]()
    for _, port in listening():
        answer = get(port)
        assert answer in ("no HTTP", "401")
        for method in METHODS if answer == "no HTTP" else ():
            for given in ((), (("authorization", f"Bearer {token}"),)):
                refused.setdefault(f"{method} {len(given)}", set()).add(call(port, method, given))
    for method in METHODS:  # each is served somewhere, to who has the token
        assert refused[f"{method} 0"] == {"UNAUTHENTICATED", "UNIMPLEMENTED"}
        assert refused[f"{method} 1"] == {"OK", "UNIMPLEMENTED"}


def get(port: int) -> str:
    """Asks for a page, and returns the status."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (OSError, http.client.HTTPException):
        return "no HTTP"


def call(port: int, method: str, metadata: tuple[tuple[str, str], ...]) -> str:
    """Calls a method by gRPC with an empty message, and returns the status."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=5, metadata=metadata)
        except grpc.RpcError as error:
            return error.code().name  # type: ignore[attr-defined]
    return "OK"


@pytest.mark.usefixtures("undisturbed")
def test_a_run_starts_nothing_that_only_a_cluster_needs() -> None:
    running = " ".join(word for child in psutil.Process().children() for word in child.cmdline())
    assert "gcs_server" in running
    assert "raylet" in running
    assert not {name for name in ("dashboard.py", "monitor.py", "log_monitor.py") if f"/{name}" in running}
    started = {actor["ActorClassName"].rpartition(".")[2] for actor in ray_state.actors().values()}
    assert started >= {"RayTrainWorker", "_ChannelState"}
    assert not started & {"Controller", "DatasetManager", "PlacementGroupCleaner", "_AutoscalingCoordinatorActor"}
    assert not started & {"SynchronizationActor", "_StatsActor"}
