"""Connects to the Ray cluster that this process belongs to, or starts a private one for as long as the work lasts."""

from __future__ import annotations

from distributed_il.runtime.environment import PRIVATE, QUIET, environment  # isort: skip  # before Ray

import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import ray
import ray._private.worker as ray_worker

from distributed_il.core.errors import UserError
from distributed_il.runtime.address import check_address

_STORE_BYTES = 512 << 20
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
        UserError: The cluster at `RAY_ADDRESS` can't be joined.
    """
    private = False
    with ExitStack() as ended:
        ended.enter_context(environment(QUIET))
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "local")
            private = address == "local"
            if private:
                ended.enter_context(environment(PRIVATE))
                _start_private(max(cpus, os.cpu_count() or 1), shared_bytes)
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


def _start_private(cpus: int, shared_bytes: int) -> None:
    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=_STORE_BYTES + cpus * _STORE_BYTES_PER_CPU + shared_bytes,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _join(address: str) -> None:
    if address.startswith(("http://", "https://")):
        raise UserError(
            f"RAY_ADDRESS={address} is where jobs are sent: `distributed-il submit train …`; unset it to work on this "
            "machine alone"
        )
    try:
        if address != "auto" and "://" not in address:
            check_address(address, "RAY_ADDRESS")
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
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
