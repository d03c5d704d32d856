"""What the processes of a local cluster find in their environment, and the arguments its nodes start Ray with."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""Where `cluster` and `distributed_il` lie."""
LOOPBACK = "127.0.0.1"
NO_OUTER_ADDRESS = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Keeps Ray from putting the machine's outer address in the place of 127.0.0.1, as it does on Linux."""
_OF_ANOTHER_CLUSTER = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR")


def make_token(path: Path) -> str:
    """Writes a new token that only this user can read, and returns it."""
    token = secrets.token_hex(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def authentication(token_path: Path) -> dict[str, str]:
    """The variables by which Ray asks for the token and presents it."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path)}


def node_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process as a node needs it.

    Args:
        extra: Variables of this cluster.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_CLUSTER}
    # The entrypoint of a job is found by the PATH of the head, and this package by the path of Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    python_path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return kept | {"PATH": path, "PYTHONPATH": python_path, "RAY_USAGE_STATS_ENABLED": "0"} | dict(extra)


def start_arguments(name: str, address: str, directory: Path, *, cpus: int, object_store_bytes: int) -> list[str]:
    """The arguments of `ray start` that the head and the other nodes share.

    Args:
        name: The node's name.
        address: Its address.
        directory: Where it may write; a short path, since Ray puts sockets below it.
        cpus: CPUs that it offers.
        object_store_bytes: Size of its object store.
    """
    return [
        "start",
        "--block",
        f"--node-name={name}",
        f"--node-ip-address={address}",
        f"--num-cpus={cpus}",
        "--num-gpus=0",  # the nodes would all offer the same devices
        f"--object-store-memory={object_store_bytes}",
        f"--temp-dir={directory}",
    ]
