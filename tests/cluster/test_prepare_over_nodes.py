"""Preparing over real nodes: each reads files, one may be lost, one may not see them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from cluster.local import LocalCluster
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare

pytestmark = pytest.mark.cluster

PATIENCE_S = 300
FILES, ROWS = 4, 600_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("log")
    for number in range(FILES):
        rng = np.random.default_rng(number)
        columns = {
            "user_id": rng.integers(0, 5_000, ROWS),
            "item_id": rng.integers(0, 50_000, ROWS),
            "label": rng.integers(0, 2, ROWS),
        }
        pacsv.write_csv(pa.table(columns), root / f"{number}.csv")
    return root


@pytest.fixture(scope="module")
def expected(log: Path) -> str:
    """The fingerprint of what one process makes of it."""
    return prepare(PrepareConfig(source=str(log), output=str(log.parent / "one"))).fingerprint


def started(cluster: LocalCluster, log: Path, output: Path) -> subprocess.Popen[str]:
    """`prepare` with two workers, as a process on the head, which offers no CPU."""
    command = [
        sys.executable,
        "-m",
        "distributed_il",
        "prepare",
        "--workers=2",
        f"--source={log}",
        f"--output={output}",
    ]
    return subprocess.Popen(
        cluster.command(command),
        env=cluster.inner_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def somebody_reads() -> bool:
    """Whether processes of Ray read files at this moment."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"ray::MapBatches(read)"):
                return True
        except OSError:  # it has ended meanwhile
            continue
    return False


def test_nodes_read_side_by_side_and_say_little(
    cluster: LocalCluster, log: Path, expected: str, tmp_path: Path
) -> None:
    said, _ = started(cluster, log, tmp_path / "out").communicate(timeout=PATIENCE_S)
    assert Dataset.open(str(tmp_path / "out")).fingerprint == expected, said
    assert len(said.splitlines()) < 40, said
    assert not any(noise in said for noise in ("raylet", "pid=", "WARNING", "Warning", "INFO")), said


def test_the_files_of_a_node_that_is_lost_are_read_by_others(
    cluster: LocalCluster, log: Path, expected: str, tmp_path: Path
) -> None:
    process = started(cluster, log, tmp_path / "out")
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        if somebody_reads() or process.poll() is not None:
            break
        pause.wait(0.02)
    cluster.kill_node(sorted(cluster.living() - {"head"})[0])
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert Dataset.open(str(tmp_path / "out")).fingerprint == expected, said
    cluster.add_node()


def test_a_node_that_does_not_see_the_files_is_named(cluster: LocalCluster, log: Path, tmp_path: Path) -> None:
    if cluster.address.startswith("127."):
        pytest.skip("nodes on one address see the same files")
    name = cluster.add_node(hidden=[log])
    for other in sorted(cluster.living() - {"head", name}):
        cluster.kill_node(other)
    process = started(cluster, log, tmp_path / "out")
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, said
    assert f"does not exist on the node {name}; give a source that all nodes see, or set workers to 1" in said
    assert os.listdir(tmp_path) == []
