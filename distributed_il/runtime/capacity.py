"""Whether a cluster has capacity for a run's workers, asked as Ray Train will ask."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from distributed_il.core.config import RunConfig
from distributed_il.core.errors import UserError

AT_ONCE_S = 5.0
"""Within this time a cluster with free capacity hands it out."""
_POLL_S = 1


def worker_resources(run: RunConfig) -> dict[str, float]:
    """Returns what one worker takes, as Ray counts it."""
    return {"CPU": float(run.threads_per_worker)} | ({"GPU": 1.0} if run.use_gpu else {})


def wait_for_capacity(
    run: RunConfig, *, workers: int, limit_s: float | None, note: Callable[[str], None], stopped: Callable[[], bool]
) -> None:
    """Waits until the cluster could take that many workers at once; what it reserves is given back.

    Ray Train by itself would wait forever and say nothing. Asking also tells an autoscaler what is wanted.

    Args:
        run: What a worker takes.
        workers: How many are needed to begin.
        limit_s: Seconds to wait, beyond the few that any cluster takes; None: as long as it takes.
        note: Told once if there is something to wait for.
        stopped: Polled; once it returns True, so does this function.

    Raises:
        UserError: The capacity did not come within the limit.
    """
    group = placement_group([worker_resources(run)] * workers)
    try:
        if _reserved(group, AT_ONCE_S, stopped) or stopped():
            return
        limit_s = math.inf if limit_s is None else limit_s
        if limit_s > AT_ONCE_S:
            within = f" up to {limit_s:.0f} s" if math.isfinite(limit_s) else ""
            note(f"waiting{within} for capacity: {_demand(run, workers)}; {_supply()}")
        if not _reserved(group, limit_s - AT_ONCE_S, stopped) and not stopped():
            raise UserError(
                f"the cluster has no capacity for {_demand(run, workers)}: {_supply()}; lower run.workers, add nodes, "
                "or let the run wait longer with run.wait_for_workers_s (null: as long as it takes)"
            )
    finally:
        remove_placement_group(group)


def _reserved(group: PlacementGroup, within_s: float, stopped: Callable[[], bool]) -> bool:
    until = time.monotonic() + within_s
    while not group.wait(_POLL_S):
        if stopped() or time.monotonic() > until:
            return False
    return True


def _demand(run: RunConfig, workers: int) -> str:
    each = " and ".join(_amount(kind, count) for kind, count in worker_resources(run).items())
    return f"{workers} worker{'s' if workers > 1 else ''} of {each} each"


def _supply() -> str:
    total, free = ray.cluster_resources(), ray.available_resources()
    kinds = ["CPU", *(["GPU"] if "GPU" in total else [])]
    nodes = sum(node["Alive"] for node in ray.nodes())
    amounts = " and ".join(f"{_amount(kind, total.get(kind, 0.0))} ({free.get(kind, 0.0):g} free)" for kind in kinds)
    return f"it has {amounts} on {nodes} node{'s' if nodes > 1 else ''}"


def _amount(kind: str, count: float) -> str:
    return f"{count:g} {kind}{'' if count == 1 else 's'}"
