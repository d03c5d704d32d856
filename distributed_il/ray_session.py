"""A Ray to work on: the cluster that this process belongs to, or a private one that lasts as long as the work."""

from __future__ import annotations

from distributed_il.ray_environment import PRIVATE, QUIET, environment  # isort: skip  # before Ray

import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import ray

from distributed_il.errors import UserError

_STORE_BYTES = 512 << 20
_STORE_BYTES_PER_CPU = 64 << 20


@contextmanager
def ray_session(*, cpus: int) -> Generator[None]:
    """Makes Ray usable inside, without its noise.

    A Ray that this process has already initialised is used as it is and left running; `RAY_ADDRESS`, which is set
    inside a Ray job too, names a cluster to join; otherwise a private Ray starts on this machine and ends with the
    block. No other Ray is touched.

    Args:
        cpus: CPUs that the work asks for; a private Ray offers at least as many, whatever the machine has.

    Raises:
        UserError: The cluster at `RAY_ADDRESS` can't be joined.
    """
    with ExitStack() as ended:
        ended.enter_context(environment(QUIET))
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "local")
            if address == "local":
                ended.enter_context(environment(PRIVATE))
                _start_private(max(cpus, os.cpu_count() or 1))
            else:
                _join(address)
            ended.callback(ray.shutdown)
        yield


def _start_private(cpus: int) -> None:
    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=_STORE_BYTES + cpus * _STORE_BYTES_PER_CPU,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _join(address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise UserError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}); start it, or unset RAY_ADDRESS to work on "
            "this machine alone"
        ) from error
