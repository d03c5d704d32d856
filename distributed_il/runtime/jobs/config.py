"""Where a job goes, and what it is given there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from distributed_il.core.errors import UserError

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
