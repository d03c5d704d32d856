"""What a job is sent with."""

from __future__ import annotations

import re
import shlex
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from distributed_il.core.errors import UserError
from distributed_il.runtime.environment import QUIET

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Names that may stand in URLs and file names, where Ray puts them."""
STOP_WITHIN_S = 75
"""How long a job that is stopped may take to its checkpoint before Ray kills it; 3 s by Ray's own default."""


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
    """Environment variables of the job: `--env_vars.NAME=VALUE`. The command's own settings that are given here by
    variables go with it in any case."""
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
        if self.submission_id is not None and not _ID.fullmatch(self.submission_id):
            raise UserError(
                f"submission_id is {self.submission_id!r}; it must be of letters, digits, '.', '_' and '-', begin with "
                "a letter or digit, and have 128 of them at the most"
            )
        for name, amount in {**self.resources(), **self.entrypoint_resources}.items():
            if name != "entrypoint_resources" and not 0 <= amount < float("inf"):
                raise UserError(f"{name} is {amount}; it must be 0 or a finite number above it")

    def resources(self) -> dict[str, Any]:
        """Returns the `entrypoint_…` arguments of Ray's `submit_job` that ask for something."""
        kept = {name: getattr(self, name) for name in self.__slots__ if name.startswith("entrypoint_")}
        return {name: amount for name, amount in kept.items() if amount}


def make_job(config: SubmitConfig, command: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Returns the arguments of Ray's `submit_job` for a command, `train` and the like, with its own arguments."""
    runtime_env: dict[str, Any] = {
        "working_dir": config.working_dir,
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WITHIN_S), **QUIET, **config.env_vars},
    }
    if config.pip:
        runtime_env["pip"] = config.pip
    return {
        "submission_id": config.submission_id or f"{command}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}",
        "entrypoint": shlex.join(["python", "-m", "distributed_il", command, *arguments]),
        "runtime_env": runtime_env,
        **config.resources(),
    }
