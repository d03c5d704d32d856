"""A job as it is sent, and what has become of it."""

from __future__ import annotations

import shlex
import textwrap
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed_il.runtime.environment import QUIET
from distributed_il.runtime.jobs.config import SubmitConfig

STOP_WITHIN_S = 75
"""How long a job that is stopped may take to its checkpoint before Ray kills it; 3 s by Ray's own default."""
_STOPPED_BY = 15


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is sent.

    Attributes:
        submission_id: Its name.
        entrypoint: A shell line, every word of it quoted.
        runtime_env: As Ray takes it.
        resources: `entrypoint_…` arguments of Ray's `submit_job`.
    """

    submission_id: str
    entrypoint: str
    runtime_env: dict[str, Any]
    resources: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobState:
    """What has become of a job.

    Attributes:
        submission_id: Its name.
        status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        entrypoint: Its shell line.
        message: Ray's words on the status.
        driver_exit_code: Of its process, as Python's `subprocess` counts; None where it has none.
        started_s: Seconds since the epoch; None where unknown.
        ended_s: Likewise; None while it lasts.
    """

    submission_id: str
    status: str
    entrypoint: str
    message: str = ""
    driver_exit_code: int | None = None
    started_s: float | None = None
    ended_s: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def exit_code(self) -> int:
        """The job's exit code as a shell shows it; 143 of a stopped one, 1 of one that failed before it began."""
        if self.status == "STOPPED":
            return 128 + _STOPPED_BY
        if self.status != "FAILED":
            return 0
        code = self.driver_exit_code or 1
        return 128 - code if code < 0 else code

    def said(self) -> str:
        """Status, and what is known of a failure or of a job that has not begun."""
        message = textwrap.shorten(self.message, 500)
        if self.status == "PENDING":
            return f"PENDING: {message}"
        if self.status != "FAILED":
            return self.status
        if self.driver_exit_code is not None:
            return f"FAILED with exit code {self.exit_code}"
        return f"FAILED before it began: {message}"


def make_job(config: SubmitConfig, command: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Job:
    """Makes the job that runs a command.

    Args:
        config: Where it goes and what it is given.
        command: `train` and the like.
        arguments: Of the command.
        variables: Environment variables that belong to the command.
    """
    runtime_env: dict[str, Any] = {
        "working_dir": config.working_dir,
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WITHIN_S), **QUIET, **variables, **config.env_vars},
    }
    if config.pip:
        runtime_env["pip"] = config.pip
    resources = {
        "entrypoint_num_cpus": config.entrypoint_num_cpus,
        "entrypoint_num_gpus": config.entrypoint_num_gpus,
        "entrypoint_memory": config.entrypoint_memory,
        "entrypoint_resources": config.entrypoint_resources,
    }
    return Job(
        submission_id=config.submission_id or f"{command}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}",
        entrypoint=shlex.join(["python", "-m", "distributed_il", command, *arguments]),
        runtime_env=runtime_env,
        resources={name: amount for name, amount in resources.items() if amount},
    )
