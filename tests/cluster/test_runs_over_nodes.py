"""Runs over real nodes: what the console shows, and nodes that leave, are lost and come back."""

from __future__ import annotations

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
from small_runs import SIZES, write_small_dataset

from cluster.local import LocalCluster
from distributed_il.core.errors import UserError
from distributed_il.training.checkpoint import CheckpointStore

pytestmark = pytest.mark.cluster

PATIENCE_S = 300
GLOBAL_BATCH = 128
STEPS_A_ROUND = -(-SIZES["train"] // GLOBAL_BATCH)
ENDLESS = 100_000
"""Rounds of a run that is stopped once enough has happened."""


class Run:
    """A training run whose driver is a process on the head."""

    def __init__(self, cluster: LocalCluster, data: Path, place: Path, *settings: str) -> None:
        self.dir, self._console = place / "run", place / "console"
        command = [sys.executable, "-m", "distributed_il", "train", f"--data.path={data}", f"--run.dir={self.dir}"]
        command += ["--run.workers=2", f"--run.batch_size={GLOBAL_BATCH // 2}", "--method.name=none"]
        command += ["--model.dtype=float64", f"--run.patience={ENDLESS}", *settings]
        place.mkdir(exist_ok=True)
        with self._console.open("w") as console:
            self._driver = subprocess.Popen(
                cluster.command(command), env=cluster.inner_environment, stdout=console, stderr=subprocess.STDOUT
            )

    def console(self) -> list[str]:
        return self._console.read_text().splitlines()

    def step(self) -> int:
        """Of the last checkpoint; 0 before the first."""
        store = CheckpointStore(str(self.dir))
        while True:
            last = store.newest()
            try:
                manifest = store.manifest("last")
            except UserError:
                if store.newest() == last:
                    raise
                continue  # the run has replaced it while it was read
            return 0 if manifest is None else manifest["step"]

    def wait_until(self, holds: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(int(PATIENCE_S / 0.1)):
            if holds():
                return
            assert self._driver.poll() is None, self.console()
            pause.wait(0.1)
        raise AssertionError(self.console())

    def wait_for(self, words: str) -> None:
        self.wait_until(lambda: any(words in line for line in self.console()))

    def stop(self) -> None:
        """Ends it after a checkpoint."""
        driver = self._driver.pid
        if Path(f"/proc/{driver}/comm").read_text() == "nsenter\n":  # it waits for the driver and passes no signal on
            (driver,) = map(int, Path(f"/proc/{driver}/task/{driver}/children").read_text().split())
        os.kill(driver, signal.SIGTERM)
        assert self._driver.wait(PATIENCE_S) == 128 + signal.SIGTERM, self.console()

    def result(self) -> dict[str, Any]:
        """Of a run that ends by itself, without what measures time."""
        assert self._driver.wait(PATIENCE_S) == 0, self.console()
        found = json.loads((self.dir / "metrics.json").read_text())
        return {name: found[name] for name in ("valid", "test")} | {"steps": found["run"]["optimizer_steps"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "dataset"
    write_small_dataset(path)
    return path


def undisturbed(cluster: LocalCluster, data: Path, place: Path, rounds: int) -> dict[str, Any]:
    """The result of a run that nobody hinders."""
    return Run(cluster, data, place, f"--run.max_rounds={rounds}").result()


def test_a_normal_run_says_little(cluster: LocalCluster, data: Path, tmp_path: Path) -> None:
    run = Run(cluster, data, tmp_path, "--run.max_rounds=3")
    run.result()
    lines = [line for line in run.console() if not line.startswith("round ")]
    assert len(lines) < 60, lines
    said = "\n".join(lines)
    assert not any(noise in said for noise in ("raylet", "pid=", "WARNING", "Warning", "INFO")), said


def test_a_node_that_leaves_costs_nothing_and_is_no_failure(cluster: LocalCluster, data: Path, tmp_path: Path) -> None:
    run = Run(cluster, data, tmp_path, f"--run.max_rounds={ENDLESS}", "--run.max_failures=0")
    run.wait_until(lambda: run.step() > 0)
    leaving = sorted(cluster.living() - {"head"})[-1]
    cluster.preempt_node(leaving)
    run.wait_for("notice that a node or worker will go")
    saved = run.step()
    cluster.add_node()
    run.wait_until(lambda: run.step() > saved)
    run.stop()
    rounds = run.step() // STEPS_A_ROUND + 1
    again = Run(cluster, data, tmp_path, f"--run.max_rounds={rounds}")
    assert again.result() == undisturbed(cluster, data, tmp_path / "undisturbed", rounds)


def test_a_run_goes_on_with_fewer_workers_and_grows_again(cluster: LocalCluster, data: Path, tmp_path: Path) -> None:
    run = Run(cluster, data, tmp_path, f"--run.max_rounds={ENDLESS}", "--run.min_workers=1")
    run.wait_until(lambda: run.step() > 0)
    cluster.kill_node(sorted(cluster.living() - {"head"})[0])
    run.wait_for("going on with 1 of 2 workers")
    saved = run.step()
    run.wait_until(lambda: run.step() > saved)
    cluster.add_node()
    run.wait_for("there is capacity: from 1 to 2 workers")
    saved = run.step()
    run.wait_until(lambda: run.step() > saved)
    run.stop()
    rounds = run.step() // STEPS_A_ROUND + 1
    found = Run(cluster, data, tmp_path, f"--run.max_rounds={rounds}").result()
    expected = undisturbed(cluster, data, tmp_path / "undisturbed", rounds)
    assert found["steps"] == expected["steps"]
    for split in ("valid", "test"):
        assert found[split] == pytest.approx(expected[split], abs=1e-6)
