"""Connects to the Ray cluster that this process belongs to, or starts a private one for as long as the work lasts."""

from __future__ import annotations

from distributed_il.runtime.environment import PRIVATE, QUIET, environment  # isort: skip  # before Ray

import logging
import os
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import ray
import ray._private.worker as ray_worker
from ray.job_config import JobConfig

from distributed_il.core.errors import UserError
from distributed_il.core.own_code import CODE_PATH, code_path
from distributed_il.runtime.address import check_address
from distributed_il.runtime.lean_ray import lean_data, lean_node
from distributed_il.runtime.private_ray import private_ray

_STORE_BYTES = 512 << 20
_IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Is set in the process that a Ray job starts."""
_TOO_SLOW = "timed out during startup"
"""In what Ray raises, an `Exception`, where its processes do not come up in time."""
_STANDARD_LIBRARY = os.path.dirname(os.__file__)
_STORE_BYTES_PER_CPU = 64 << 20


@contextmanager
def ray_session(*, cpus: int, shared_bytes: int = 0) -> Generator[bool]:
    """Makes Ray usable inside the block, without its noise.

    A Ray that this process has already initialised is used as it is and left running; `RAY_ADDRESS`, which is set
    inside a Ray job too, names a cluster to join; otherwise a private Ray starts on this machine and ends with the
    block. No other Ray is touched.

    Args:
        cpus: CPUs that the work asks for; a private Ray offers at least as many, whatever the machine has.
        shared_bytes: Bytes of objects that processes will share; a private Ray's object store is that much larger.

    Yields:
        Whether Ray is a private one, started here.

    Raises:
        UserError: The cluster at `RAY_ADDRESS` can't be joined, or a private Ray has no place on this machine.
    """
    private = False
    with ExitStack() as ended:
        ended.enter_context(environment(QUIET))
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "local")
            private = address == "local"
            if private:
                ended.enter_context(environment(PRIVATE | _code_variables()))
                place = ended.enter_context(private_ray())
                ended.enter_context(lean_data())
                with lean_node():
                    _start_private(place, max(cpus, os.cpu_count() or 1), shared_bytes)
            else:
                _join(address)
            ended.callback(ray.shutdown)
            ended.enter_context(_without_ray_output())
        yield private


@contextmanager
def _without_ray_output() -> Generator[None]:
    """Keeps Ray's messages about lost nodes and workers off the console; a run reports these itself.

    Ray has no setting for that.
    """
    printed = ray_worker.print_to_stdstream
    ray_worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = printed


def _start_private(place: str, cpus: int, shared_bytes: int) -> None:
    try:
        ray.init(
            address="local",
            _temp_dir=place,
            num_cpus=cpus,
            object_store_memory=_STORE_BYTES + cpus * _STORE_BYTES_PER_CPU + shared_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            job_config=_job_config(),
        )
    except Exception as error:
        if _TOO_SLOW not in str(error):
            raise
        raise UserError(
            "Ray did not start within its 30 s: this machine is busy with other work, or out of memory; try again when "
            "there is room"
        ) from error


def _code_variables() -> dict[str, str]:
    """Returns what tells workers where the user's own code lies, if a setting has named some."""
    path = code_path()
    return {} if path is None else {CODE_PATH: path}


def _job_config() -> JobConfig:
    """Keeps Ray from putting the current folder first on the path of its workers, where this process does not have it.

    There a `torch.py` of the user's would be taken for torch.
    """
    if _IN_JOB in os.environ:  # where the folder is the job's working directory, which workers have from elsewhere
        return JobConfig()
    first = sys.path[: sys.path.index(_STANDARD_LIBRARY)] if _STANDARD_LIBRARY in sys.path else sys.path
    return JobConfig(_client_job=not {"", os.getcwd()} & set(first))


def _join(address: str) -> None:
    if address.startswith(("http://", "https://")):
        raise UserError(
            f"RAY_ADDRESS={address} is where jobs are sent: `distributed-il submit train …`; unset it to work on this "
            "machine alone"
        )
    try:
        if address != "auto" and "://" not in address:
            check_address(address, "RAY_ADDRESS")
        variables = {} if _IN_JOB in os.environ else _code_variables()
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            job_config=_job_config(),
            runtime_env={"env_vars": variables} if variables else None,
        )
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}); start it, or unset RAY_ADDRESS to work on "
            "this machine alone. A cluster with authentication answers to its own token only: put it into "
            "~/.ray/auth_token, and set RAY_AUTH_MODE=token"
        ) from error
    except RuntimeError as error:
        if not str(error).startswith("Version mismatch"):
            raise
        raise UserError(
            f"RAY_ADDRESS={address}: {' '.join(str(error).split())}; install the cluster's versions here, or start "
            "it with an image that has these"
        ) from error
