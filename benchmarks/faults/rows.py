"""The rows of the fault table: each disturbs a run, and sees that it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.faults.stage import Run, wait_until

EARLY = 20
"""A step of the first round, some steps behind a checkpoint."""
REFUSAL_S = 10.0
PARTITION_S = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table.

    Attributes:
        name: For the command line.
        words: What happens, for people.
        disturb: Starts a run, disturbs it, and where that has ended it starts it again; returns when the fault was.
        needs_rights: Whether it takes root's rights: network namespaces, mounts.
        settings: Of its run, beside those of all.
        elastic: Whether the run may go on with fewer workers; it then has the same rows in the same steps, and numbers
            that are equal but for rounding.
    """

    name: str
    words: str
    disturb: Callable[[Run], float]
    needs_rights: bool = False
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    elastic: bool = False


def worker_killed_in_training_train(run: Run) -> float:
    """Rank 1 dies as it begins a labelled step."""
    run.order(rank=1, place="training-train", number=EARLY)
    run.start()
    return run.fired()


def worker_killed_in_an_inverse_step(run: Run) -> float:
    """Rank 1 dies once the candidates' losses are summed, before any update."""
    run.order(rank=1, place="candidates", number=3)
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


def node_killed(run: Run) -> float:
    """A node loses power, and none comes in its place."""
    run.start()
    fault = run.wait_for_step(EARLY)
    run.stage.cluster.kill_node(run.stage.workers()[-1])
    return fault


def node_killed_while_the_run_is_checked(run: Run) -> float:
    """A node loses power as it is asked whether it sees the run's directory, and another one comes."""
    run.start()
    wait_until(lambda: run.checked, "the run is not checked")
    fault = time.time()
    run.stage.cluster.kill_node(run.stage.workers()[-1])
    run.stage.cluster.add_node()
    return fault


def partition(run: Run) -> float:
    """A node can't be reached for a while; where the head gives it up, another one comes."""
    run.start()
    fault = run.wait_for_step(EARLY)
    with run.stage.cluster.partitioned(run.stage.workers()[-1]):
        time.sleep(PARTITION_S)

    def finished_on_two_nodes() -> bool:
        run.stage.clear_nodes()  # the head may give a node up some seconds after it is back
        return run.finished

    wait_until(finished_on_two_nodes, "the run does not end after the partition")
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


ROWS = {
    row.name: row
    for row in (
        Fault(
            "worker_killed_in_training_train",
            "SIGKILL of a worker, training-train step",
            worker_killed_in_training_train,
        ),
        Fault(
            "worker_killed_in_an_inverse_step",
            "SIGKILL of a worker between an inverse step's candidates and its update",
            worker_killed_in_an_inverse_step,
        ),
        Fault("worker_killed_in_a_checkpoint", "SIGKILL of a worker amid a checkpoint", worker_killed_in_a_checkpoint),
        Fault("node_killed_and_replaced", "a node killed, another one added", node_killed_and_replaced),
        Fault(
            "node_killed",
            "a node killed and not replaced: goes on with fewer workers",
            node_killed,
            settings={"run_min_workers": "1"},
            elastic=True,
        ),
        Fault(
            "node_killed_while_the_run_is_checked",
            "a node killed while the run is being checked, another one added",
            node_killed_while_the_run_is_checked,
        ),
        Fault("partition", f"a node cut off for {PARTITION_S:.0f} s", partition, needs_rights=True),
        Fault("driver_killed", "SIGKILL of the driver, job sent again", driver_killed_and_job_sent_again),
        Fault("job_process_killed", "SIGKILL of the job's process on the head, job sent again", job_process_killed),
        Fault("storage_refuses", f"storage read-only for {REFUSAL_S:.0f} s", storage_refuses, needs_rights=True),
        Fault("disk_full", "a full disk, then room and the run started again", disk_full, needs_rights=True),
        Fault("sigterm", "SIGTERM, started again", sigterm),
        Fault("preemption", "notice that a node will be taken, another one added", preemption),
    )
}


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
