"""Clusters of a head and two nodes on this machine, kept apart by namespaces and by ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import alive, listening_addresses
from small_runs import write_small_dataset

from cluster.local import HEAD, LocalCluster
from cluster.local.namespaces import have_rights
from cluster.local.node import descendants

pytestmark = pytest.mark.cluster

WHERE_TASKS_RUN = """
import json, ray
ray.init(log_to_driver=False, logging_level="ERROR")
where = ray.remote(num_cpus=1)(lambda: ray.get_runtime_context().get_node_id())
nodes = {node["NodeName"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
ids = {
    name: ray.get(where.options(label_selector={"ray.io/node-id": node["NodeID"]}).remote()) == node["NodeID"]
    for name, node in nodes.items()
}
print(json.dumps(ids))
"""
# A closed port: refused where the machine is reached, and no answer where it is not.
IS_REACHED = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=1)
except ConnectionRefusedError:
    print("reached")
except OSError:
    print("cut off")
"""


@pytest.fixture(scope="module", params=["namespaces", "one address"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    namespaces = request.param == "namespaces"
    if namespaces and not have_rights():
        pytest.skip("this user may not make network namespaces here")
    with pytest.MonkeyPatch.context() as patch:
        # A dead node is noticed in seconds instead of half a minute.
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_timeout_ms", "2000")
        with LocalCluster(nodes=2, namespaces=namespaces) as started:
            yield started


def on_head(cluster: LocalCluster, *command: str) -> str:
    done = subprocess.run(
        cluster.command(command), env=cluster.inner_environment, text=True, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_task_runs_on_each_node_and_none_on_the_head(cluster: LocalCluster) -> None:
    assert cluster.living() == {HEAD, *cluster.nodes} == {HEAD, "node-1", "node-2"}
    assert json.loads(on_head(cluster, sys.executable, "-c", WHERE_TASKS_RUN)) == {"node-1": True, "node-2": True}


def test_without_the_token_the_dashboard_and_the_cluster_refuse(cluster: LocalCluster, tmp_path: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        opener.open(f"{cluster.dashboard}/api/jobs/", timeout=30)

    another = tmp_path / "token"
    another.write_text("0" * 64)
    driver = subprocess.run(
        cluster.command([sys.executable, "-c", "import ray; ray.init()"]),
        env=cluster.inner_environment | {"RAY_AUTH_TOKEN_PATH": str(another)},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert driver.returncode != 0
    assert "token" in driver.stderr.lower()


def test_the_token_is_for_this_user_alone(cluster: LocalCluster) -> None:
    token = Path(cluster.outer_environment["RAY_AUTH_TOKEN_PATH"])
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_listens_beyond_the_loopback_of_this_machine(cluster: LocalCluster) -> None:
    # Processes of nodes with a network of their own have sockets that this machine's tables do not list.
    ours = listening_addresses(descendants(os.getpid()))
    assert ours
    assert {address for address in ours if not address.startswith(("127.", "::ffff:127."))} == set()


def test_a_killed_node_is_noticed_and_a_new_one_takes_its_place(cluster: LocalCluster) -> None:
    node = cluster.nodes["node-2"].pid
    below = descendants(node)
    assert below
    cluster.kill_node("node-2")
    assert alive({node, *below}) == set()
    cluster.wait_until(lambda living: "node-2" not in living, timeout_s=90)
    assert cluster.living() == {HEAD, "node-1"}

    assert cluster.add_node() == "node-3"
    assert json.loads(on_head(cluster, sys.executable, "-c", WHERE_TASKS_RUN)) == {"node-1": True, "node-3": True}


def test_a_partition_cuts_a_node_off_until_it_ends(cluster: LocalCluster) -> None:
    if cluster.address.startswith("127."):
        pytest.skip("nodes on one address can't be cut off")
    name = sorted(set(cluster.nodes) - {HEAD})[0]
    assert on_head(cluster, sys.executable, "-c", IS_REACHED, name).strip() == "reached"
    with cluster.partitioned(name):
        assert on_head(cluster, sys.executable, "-c", IS_REACHED, name).strip() == "cut off"
    assert on_head(cluster, sys.executable, "-c", IS_REACHED, name).strip() == "reached"


def test_a_job_trains_over_both_nodes(cluster: LocalCluster, tmp_path: Path) -> None:
    dataset = write_small_dataset(tmp_path / "dataset")
    train = ["python", "-m", "distributed_il", "train", f"--data.path={dataset.path}", f"--run.dir={tmp_path / 'run'}"]
    settings = ["--run.workers=2", "--run.max_rounds=1", "--run.batch_size=64"]
    job = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--", *train, *settings],
        env=os.environ | cluster.outer_environment,
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert job.returncode == 0, job.stdout[-5000:] + job.stderr[-2000:]
    assert "test" in json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_an_added_node_need_not_see_a_directory(cluster: LocalCluster, tmp_path: Path) -> None:
    if cluster.address.startswith("127."):
        pytest.skip("nodes on one address see the same files")
    (tmp_path / "file").write_text("here")
    name = cluster.add_node(hidden=[tmp_path])
    listing = subprocess.run(
        cluster.command(["ls", str(tmp_path)], node=name), env=cluster.inner_environment, text=True, capture_output=True
    )
    assert listing.stdout == ""
    assert on_head(cluster, "ls", str(tmp_path)) == "file\n"


def test_stopping_leaves_no_process(cluster: LocalCluster) -> None:  # the last of this file: it ends the cluster
    ours = descendants(os.getpid())
    place = Path(cluster.outer_environment["RAY_AUTH_TOKEN_PATH"]).parent
    assert len(ours) > 10
    cluster.stop()
    assert alive(ours) == set()
    assert not place.exists()
