"""Where faults are played: a cluster of a head and two nodes, a small disk that they share, a dataset, and runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from unittest import mock

from benchmarks.faults.sentry import STAGE, Order
from benchmarks.faults.step_log import Entry, entries
from cluster.local import HEAD, LocalCluster
from cluster.local.namespaces import have_rights
from cluster.local.node import descendants
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate
from distributed_il.training.run_claim import CLAIM_FILE

NODES = 2
DISK_BYTES = 96 << 20
LOOK_EVERY_S = 0.1
PATIENCE_S = 300.0
ROWS = 4_000
SETTINGS = {
    "model.backbone": "benchmarks.faults.backbone:WatchedGMF",
    "model.embedding_dim": "8",
    "optimizer.learning_rate": "0.01",
    "method.name": "ig",
    "method.test_share": "0.2",
    "run.workers": str(NODES),
    "run.batch_size": "32",
    "run.max_rounds": "2",
    "run.patience": "2",
    "run.checkpoint_every_steps": "8",
    "run.max_failures": "100",
    "run.wait_for_workers_s": "null",
}
"""Of every run, beside `data.path` and `run.dir`."""


_VARIABLES = {
    # Ray takes 15 off its workers' priority, so that anything else on the machine would come before them.
    "RAY_worker_niceness": "0",
    # Processes that read wait for the next pass. By default Ray ends those that no CPU was asked for, and on a machine
    # of few cores the start of new ones takes longer than the faults.
    "RAY_num_workers_soft_limit": "64",
}
"""Of the nodes."""


def wait_until(holds: Callable[[], bool], what: str, *, timeout_s: float = PATIENCE_S) -> None:
    """Waits for something to come about.

    Args:
        holds: Whether it has.
        what: What to say where it does not.
        timeout_s: How long to wait.

    Raises:
        TimeoutError: It does not within the time.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(LOOK_EVERY_S)


class Stage:
    """The cluster and what lies around it.

    Attributes:
        cluster: A head and two nodes of one CPU each.
        disk: A small file system of its own, where this user may mount one; the runs' directories lie on it.
        meeting: Where the workers' sentries write and read.
        dataset: The rows of all runs.
    """

    def __init__(self, place: Path, cluster: LocalCluster, disk: Path, meeting: Path) -> None:
        """See `staged`."""
        self.cluster, self.disk, self.meeting = cluster, disk, meeting
        simulate(
            SimulateConfig(
                output=str(place / "data"),
                num_users=300,
                num_items=400,
                num_positives=int(0.6 * ROWS),
                num_negatives=ROWS - int(0.6 * ROWS),
                num_unclear=0,
                lanes=8,
            )
        )
        self.dataset = Dataset.open(str(place / "data"))

    def clear(self) -> None:
        """Empties the meeting place, and sees that two nodes are up."""
        for path in self.meeting.iterdir():
            path.unlink()
        self.clear_nodes()

    def clear_nodes(self) -> None:
        """Sees that two nodes are up."""
        living = self.cluster.living()
        for name in [name for name in self.cluster.nodes if name not in living and name != HEAD]:
            self.cluster.kill_node(name)  # the head has given it up
        while len(self.workers()) < NODES:
            self.cluster.add_node()

    def workers(self) -> list[str]:
        """Names of the nodes that do the work, in the order of their start."""
        living = self.cluster.living()
        return [name for name in self.cluster.nodes if name in living and name != HEAD]

    def processes(self, title: str) -> list[int]:
        """Processes of the nodes that call themselves so, the newest first; numbers as seen from here."""
        below = {pid for node in self.cluster.nodes.values() for pid in descendants(node.pid)}
        return sorted((pid for pid in below if title in _words(pid)[0]), reverse=True)


@contextlib.contextmanager
def staged() -> Generator[Stage]:
    """Sets the stage; all of it is gone at the end."""
    # As an exception, so that the stage is cleared.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with contextlib.ExitStack() as ended:
        place = Path(ended.enter_context(tempfile.TemporaryDirectory(prefix="il-faults-")))
        disk, meeting = place / "disk", place / "meeting"
        disk.mkdir()
        meeting.mkdir()
        if have_rights():
            # Before the nodes start, which take this machine's mounts with them.
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", disk], check=True)
            ended.callback(subprocess.run, ["umount", "--lazy", disk], check=True)
        ended.enter_context(mock.patch.dict(os.environ, _VARIABLES | {STAGE: str(meeting)}))
        cluster = ended.enter_context(LocalCluster(nodes=NODES, cpus=1))
        yield Stage(place, cluster, disk, meeting)


class Run:
    """A training run on the stage.

    Attributes:
        dir: Its directory.
    """

    def __init__(self, stage: Stage, name: str, **changed: str) -> None:
        """Makes ready for a run.

        Args:
            stage: Where.
            name: Of its directory, which is emptied.
            **changed: Settings by name, `_` for `.`: `run_workers`.
        """
        self.stage, self.dir = stage, stage.disk / name
        shutil.rmtree(self.dir, ignore_errors=True)
        stage.clear()
        settings = SETTINGS | {name.replace("_", ".", 1): value for name, value in changed.items()}
        settings |= {"data.path": stage.dataset.path, "run.dir": str(self.dir)}
        self._arguments = ["train", *(f"--{name}={value}" for name, value in settings.items())]
        self._driver: subprocess.Popen[bytes] | None = None
        self._log = stage.meeting.parent / f"{name}.log"
        self._log.unlink(missing_ok=True)

    def order(self, rank: int, place: str, number: int) -> None:
        """Tells the workers to come that one of them is to kill itself; see `Order`."""
        Order(rank, place, number).give(self.stage.meeting)

    def fired(self) -> float:
        """Waits for the order to be carried out; returns when that was."""
        path = self.stage.meeting / "fired"
        wait_until(lambda: path.exists() and bool(path.read_text()), "the worker does not get to its end")
        return float(path.read_text())

    def start(self) -> None:
        """Starts the driver on the head."""
        command = self.stage.cluster.command([sys.executable, "-m", "distributed_il", *self._arguments])
        with self._log.open("ab") as log:
            self._driver = subprocess.Popen(
                command, env=self.stage.cluster.inner_environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def submit(self) -> None:
        """Sends it to the head as a job and does not wait for it."""
        job = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--no-wait"]
        job += [f"--submission-id={uuid.uuid4().hex}", "--", "python", "-m", "distributed_il", *self._arguments]
        with self._log.open("ab") as log:
            environment = os.environ | self.stage.cluster.outer_environment
            subprocess.run(job, env=environment, stdout=log, stderr=log, check=True)

    def driver(self) -> int | None:
        """The driver's process; None where it does not run."""
        wanted = f"--run.dir={self.dir}"
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                words = _words(int(entry.name))
                if wanted in words and Path(words[0]).name.startswith("python"):
                    return int(entry.name)
        return None

    def signal_driver(self, number: signal.Signals) -> None:
        """Sends the driver a signal."""
        pid = self.driver()
        assert pid is not None, self.said()
        os.kill(pid, number)

    @property
    def finished(self) -> bool:
        """Whether it has written its results."""
        return (self.dir / "metrics.json").exists()

    @property
    def checked(self) -> bool:
        """Whether its driver, which has its directory, asks the nodes if they see a file there."""
        return (self.dir / CLAIM_FILE).exists() and any(self.dir.glob(".probe-*"))

    def ended(self) -> int:
        """Waits for the end of a driver that `start` started; returns its exit status."""
        assert self._driver is not None
        return self._driver.wait(PATIENCE_S)

    def entries(self) -> list[Entry]:
        """What its workers have written down."""
        return entries(self.stage.meeting)

    def step(self) -> int:
        """The farthest step that was taken."""
        return max((entry.step for entry in self.entries()), default=0)

    def wait_for_step(self, step: int) -> float:
        """Waits until a step was taken; returns the time."""
        wait_until(lambda: self.step() >= step, f"step {step} is not reached")
        return time.time()

    def wait_for_end(self) -> None:
        """Waits for the run's results and the end of its driver."""

        def over() -> bool:
            if self.finished:
                return self.driver() is None
            if self._driver is not None and self._driver.poll():
                raise ChildProcessError(f"the run ended with status {self._driver.returncode}:\n{self.said()}")
            return False

        wait_until(over, "the run does not end")

    def stop(self) -> None:
        """Kills the driver, if it still runs."""
        pid = self.driver()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._driver is not None:
            self._driver.wait(PATIENCE_S)

    def said(self) -> str:
        """The end of what its drivers have written to the console."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def _words(pid: int) -> list[str]:
    """The command line of a process; one empty word where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return [""]
