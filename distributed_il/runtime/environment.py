"""Environment variables for Ray. Import this module before Ray, which reads some of them at import."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager

QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # prints come once
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers stay where module:Class is found
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a run's end and a lost worker are noticed within this time
}
"""For every Ray cluster."""
PRIVATE = {
    # Read tasks ask for no CPU, so Ray would end their processes after a second without work, and every pass would
    # wait seconds for new ones; 64 idle processes may stay instead of one a CPU.
    "RAY_num_workers_soft_limit": "64",
    "RAY_prestart_worker_first_driver": "0",
    # The work keeps the priority that the user started it with. Ray would take 15 off, so that anything else on the
    # machine, its own daemons included, would get many times the share of a training step.
    "RAY_worker_niceness": "0",
    # Nobody reads Ray's metrics and records of tasks here; it would go on filling memory with them.
    "RAY_enable_metrics_collection": "0",
    # Two servers of metrics know no token. Ray can't be told to leave them out, but goes on where they can't be had.
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody reclaims this machine
}
"""For a private Ray on this machine that lives as long as one run."""

# On a machine of few cores Ray warns on standard output of more processes than cores, which is what is wanted here.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "worker processes have been started")


@contextmanager
def environment(values: Mapping[str, str], *, override: bool = False) -> Generator[None]:
    """Sets variables for as long as the block lasts; those that the user has set, too, only with `override`."""
    before = {name: os.environ.get(name) for name in values if override or name not in os.environ}
    os.environ.update({name: values[name] for name in before})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
