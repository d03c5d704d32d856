"""Whole runs on Ray Train: their results, and how they end when they are hindered."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from small_runs import exact_run

from distributed_il.core.config import TrainConfig, config_to_dict
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.runtime.launch import launch
from distributed_il.training.checkpoint import CheckpointStore

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

DRIVER = """
import json, sys
from distributed_il.core.config import config_from_dict
from distributed_il.runtime.launch import launch
launch(config_from_dict(json.loads(sys.argv[1])))
"""
PATIENCE_S = 120


def outcome(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how often a run was interrupted."""
    kept = {name: result[name] for name in ("valid", "test", "trivial")}
    return kept | {name: result["run"][name] for name in ("rounds", "best_round", "optimizer_steps", "decisions")}


def when_checkpointed(run_dir: str, action: Callable[[], None]) -> threading.Thread:
    """Does something as soon as a run has a checkpoint that it has not now."""
    store = CheckpointStore(run_dir)

    def wait(before: str | None) -> None:
        pause = threading.Event()
        for _ in range(int(PATIENCE_S / 0.02)):
            if store.newest() != before:
                action()
                return
            pause.wait(0.02)

    thread = threading.Thread(target=wait, args=(store.newest(),))
    thread.start()
    return thread


def train_workers() -> list[int]:
    """Process ids of the Ray Train workers that descend from this process."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(entry.name)] = (entry / "cmdline").read_text()
        except (ValueError, OSError):
            continue  # no process, or one that has just ended

    def ours(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == os.getpid():
                return True
        return False

    return sorted(pid for pid, title in titles.items() if "RayTrainWorker" in title and ours(pid))


def start_driver(config: TrainConfig) -> subprocess.Popen[str]:
    """A run in a process of its own, on this test's Ray."""
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(config_to_dict(config))],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_leaves_its_metrics_config_and_tensorboard(undisturbed: Any) -> None:
    config, result = undisturbed
    run_dir = Path(config.run.dir)
    assert json.loads((run_dir / "metrics.json").read_text())["test"] == pytest.approx(result["test"])
    assert (run_dir / "config.yaml").is_file()
    assert list(run_dir.glob("events.*"))
    assert result["test"]["auc"] > 0.5


@pytest.mark.parametrize(
    ("number", "settings", "said"),
    [
        pytest.param(signal.SIGKILL, {}, "failed", id="killed"),
        # A minute each: with the cluster's tests.
        pytest.param(signal.SIGSTOP, {"collective_timeout_s": 8.0}, "failed", id="hung", marks=pytest.mark.cluster),
        pytest.param(
            signal.SIGTERM,
            {"max_failures": 0},
            "notice that a node or worker will go",
            id="told to go",
            marks=pytest.mark.cluster,
        ),
    ],
)
def test_a_lost_worker_comes_back_and_changes_nothing(
    number: signal.Signals,
    settings: dict[str, Any],
    said: str,
    undisturbed: Any,
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = exact_run(dataset, tmp_path / "run", **settings)
    killed: list[int] = []

    def kill() -> None:
        killed.append(train_workers()[0])
        os.kill(killed[0], number)

    waiting = when_checkpointed(config.run.dir, kill)
    result = launch(config)
    waiting.join()
    assert len(killed) == 1
    assert not Path(f"/proc/{killed[0]}").exists()
    assert said in capsys.readouterr().err
    assert outcome(result) == outcome(undisturbed[1])


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, id="told"),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, id="killed"),
    ],
)
@pytest.mark.cluster  # more than a minute each
def test_a_run_whose_driver_is_ended_goes_on_and_ends_the_same(
    number: signal.Signals, status: int, undisturbed: Any, dataset: Dataset, tmp_path: Path
) -> None:
    config = exact_run(dataset, tmp_path / "run")
    driver = start_driver(config)
    when_checkpointed(config.run.dir, functools.partial(driver.send_signal, number)).join()
    _, said = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == status, said
    assert not (tmp_path / "run" / "metrics.json").exists()
    words = [line.partition(" ")[0] for line in said.splitlines()]
    assert set(words) <= {"the", "round", "stopping", "stopped;"}  # the dataset has no exposure factors
    assert (number == signal.SIGTERM) == ("stopped;" in words[-1:])
    assert outcome(launch(config)) == outcome(undisturbed[1])


@pytest.mark.cluster  # half a minute; test_worker_errors has the message
def test_an_error_for_people_ends_the_run_at_once_and_arrives_as_it_was(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(dataset.full_path(dataset.blocks("train", 1)[0].path))
    whole = file.read_bytes()
    file.write_bytes(b"\0" * len(whole))  # of the right size, so that only reading finds it
    try:
        with pytest.raises(UserError) as caught:
            launch(exact_run(dataset, tmp_path / "run"))
    finally:
        file.write_bytes(whole)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "failed" not in capsys.readouterr().err
