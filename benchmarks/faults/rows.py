"""The rows of the fault table: each disturbs a run, and sees that it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from benchmarks.faults.stage import Run, wait_until

EARLY = 40
"""A step of the first round, some steps behind a checkpoint."""
REFUSAL_S = 10.0
PARTITION_S = 30.0

Disturb = Callable[[Run], float]
"""Starts a run, disturbs it, and where that has ended it starts it again; returns when the fault was."""


def worker_killed_in_training_train(run: Run) -> float:
    """Rank 1 dies as it begins a labelled step."""
    run.order(rank=1, place="training-train", number=EARLY)
    run.start()
    return run.fired()


def worker_killed_in_an_inverse_step(run: Run) -> float:
    """Rank 1 dies once the candidates' losses are summed, before any update."""
    run.order(rank=1, place="candidates", number=12)
    run.start()
    return run.fired()


def worker_killed_in_a_checkpoint(run: Run) -> float:
    """Rank 0 dies amid its second checkpoint."""
    # It writes six files each time: user rows, item rows, tower, state, manifest, names.
    run.order(rank=0, place="checkpoint", number=9)
    run.start()
    return run.fired()


def node_killed_and_replaced(run: Run) -> float:
    """A node loses power, and another one comes."""
    run.start()
    fault = run.wait_for_step(EARLY)
    run.stage.cluster.kill_node(run.stage.workers()[-1])
    run.stage.cluster.add_node()
    return fault


def partition(run: Run) -> float:
    """A node can't be reached for a while; where the head gives it up, another one comes."""
    run.start()
    fault = run.wait_for_step(EARLY)
    with run.stage.cluster.partitioned(run.stage.workers()[-1]):
        time.sleep(PARTITION_S)
    run.stage.clear_nodes()
    return fault


def driver_killed_and_job_sent_again(run: Run) -> float:
    """The job's own process dies."""
    run.submit()
    fault = run.wait_for_step(EARLY)
    run.signal_driver(signal.SIGKILL)
    run.submit()
    return fault


def job_process_killed(run: Run) -> float:
    """What holds the job on the head dies, and the job with it."""
    run.submit()
    fault = run.wait_for_step(EARLY)
    os.kill(run.stage.processes("JobSupervisor")[0], signal.SIGKILL)
    wait_until(lambda: run.driver() is None, "the driver outlives its job")
    run.submit()
    return fault


def storage_refuses(run: Run) -> float:
    """Nobody can write for a while."""
    run.start()
    fault = run.wait_for_step(EARLY)
    _remount(run, "ro")
    time.sleep(REFUSAL_S)
    _remount(run, "rw")
    return fault


def disk_full(run: Run) -> float:
    """The run ends with a message, room is made, and it is started again."""
    filler = run.stage.disk / "filler"
    run.start()
    fault = run.wait_for_step(EARLY)
    try:
        _fill(filler)
        status = run.ended()
        if status != 2 or "full" not in run.said():
            raise AssertionError(f"a run on a full disk ended with status {status}:\n{run.said()}")
    finally:
        filler.unlink()
    run.start()
    return fault


def sigterm(run: Run) -> float:
    """The run stops after a checkpoint and is started again."""
    run.start()
    fault = run.wait_for_step(EARLY)
    run.signal_driver(signal.SIGTERM)
    status = run.ended()
    if status != 128 + signal.SIGTERM:
        raise AssertionError(f"SIGTERM ended the run with status {status}:\n{run.said()}")
    run.start()
    return fault


def preemption(run: Run) -> float:
    """A node is taken after notice, and another one comes."""
    run.start()
    fault = run.wait_for_step(EARLY)
    name = run.stage.workers()[-1]
    run.stage.cluster.preempt_node(name)
    run.stage.cluster.add_node()
    return fault


ROWS: dict[str, tuple[str, Disturb]] = {
    "worker_killed_in_training_train": (
        "SIGKILL of a worker in a training-train step",
        worker_killed_in_training_train,
    ),
    "worker_killed_in_an_inverse_step": (
        "SIGKILL of a worker between an inverse step's candidates and its update",
        worker_killed_in_an_inverse_step,
    ),
    "worker_killed_in_a_checkpoint": ("SIGKILL of a worker amid a checkpoint", worker_killed_in_a_checkpoint),
    "node_killed_and_replaced": ("a node killed, another one added", node_killed_and_replaced),
    "partition": (f"a node cut off for {PARTITION_S:.0f} s", partition),
    "driver_killed": ("SIGKILL of the driver, job sent again", driver_killed_and_job_sent_again),
    "job_process_killed": ("SIGKILL of the job's process on the head, job sent again", job_process_killed),
    "storage_refuses": (f"storage read-only for {REFUSAL_S:.0f} s", storage_refuses),
    "disk_full": ("a full disk, then room and the run started again", disk_full),
    "sigterm": ("SIGTERM, started again", sigterm),
    "preemption": ("notice that a node will be taken, another one added", preemption),
}
"""By name: the fault in words, and how it comes about."""
NEED_RIGHTS = {"partition", "storage_refuses", "disk_full"}
"""Rows that take root's rights: network namespaces, mounts."""


def _remount(run: Run, mode: str) -> None:
    """Makes the disk read-only or writable for all nodes; waits until no file is open for writing."""

    def done() -> bool:
        command = ["mount", "-o", f"remount,{mode}", str(run.stage.disk)]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0

    wait_until(done, f"the disk can't be made {mode}")


def _fill(filler: os.PathLike[str]) -> None:
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * (1 << 16))
        except OSError:
            return
