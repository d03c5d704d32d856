"""A job as it is sent, and what has become of it."""

from __future__ import annotations

import re
import shlex
import textwrap
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distributed_il.core.errors import UserError
from distributed_il.runtime.environment import QUIET

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_submission_id(submission_id: str) -> str:
    """The id as it is, if it may stand in URLs and in names of files, where Ray puts it.

    Raises:
        UserError: It may not.
    """
    if not _ID.fullmatch(submission_id):
        raise UserError(
            f"submission_id is {submission_id!r}; it must be of letters, digits, '.', '_' and '-', begin with a letter "
            "or digit, and have 128 of them at the most"
        )
    return submission_id


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitConfig:
    """Settings of `submit`."""

    address: str | None = None
    """The cluster's head, as `http://HEAD:8265`; by default what RAY_API_SERVER_ADDRESS or RAY_ADDRESS says."""
    submission_id: str | None = None
    """The job's name. Sent again under the same name it does not run again: the first job is shown. By default a new
    one."""
    wait: bool = False
    """Follow the log until the job ends, and leave with its exit code."""
    working_dir: str = "."
    """Directory (or URI of a zip file) that the job starts in. It is sent to every node without what .gitignore names:
    for configurations and code, not for data. The --config files of the command must lie in it."""
    pip: list[str] | str | None = None
    """Packages that the job needs beside those of the cluster: a list, or the path of a requirements file."""
    env_vars: dict[str, str] = field(default_factory=dict[str, str])
    """Environment variables of the job: `--env_vars.NAME=VALUE`. The variables of ours that are set here for the
    command go with it in any case."""
    entrypoint_num_cpus: float = 0.0
    """CPUs kept for the process that starts the work, beside those of its workers. With nothing kept it runs on the
    head; otherwise on any node."""
    entrypoint_num_gpus: float = 0.0
    """GPUs kept for it."""
    entrypoint_memory: int = 0
    """Bytes of memory kept for it."""
    entrypoint_resources: dict[str, float] = field(default_factory=dict[str, float])
    """Other resources kept for it: `--entrypoint_resources.NAME=1`."""

    def __post_init__(self) -> None:
        if self.submission_id is not None:
            check_submission_id(self.submission_id)
        kept = {
            "num_cpus": self.entrypoint_num_cpus,
            "num_gpus": self.entrypoint_num_gpus,
            "memory": self.entrypoint_memory,
        } | self.entrypoint_resources
        for name, amount in kept.items():
            if not 0 <= amount < float("inf"):
                raise UserError(f"entrypoint {name} is {amount}; it must be 0 or a finite number above it")


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
