"""A Ray of this process's own: on the loopback interface, behind a token of its own, gone with the work.

BASE/ray-XXXXXXXX/     RAY_TMPDIR, TMPDIR where that is short enough, or /tmp; mode 0700
    driver             locked by the process that made the directory, for as long as it lives
    token              mode 0600
    r/                 Ray's sockets and logs; Ray opens it to everybody, so it lies in one that is not

What is served on loopback without the token, because Ray 2.60 and gloo can't be told otherwise: whether a process is
well (gRPC's health check, the agent's /api/local_raylet_healthz), and the connections of gloo between ranks.
"""

from __future__ import annotations

from distributed_il.runtime.environment import environment  # isort: skip  # before Ray

import fcntl
import os
import resource
import secrets
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config  # pyright: ignore[reportAttributeAccessIssue]

from distributed_il.core.errors import UserError
from distributed_il.core.files import explain_full_disk

LOOPBACK = "127.0.0.1"
LEAST_FREE_BYTES = 64 << 20
LEAST_OPEN_FILES = 512
_PREFIX, _RANDOM_CHARACTERS = "ray-", 8  # those that tempfile adds
_OWNER, _TOKEN = "driver", "token"
_LONGEST_SOCKET = "/r/session_2026-11-30_16-43-58_307620_4194304/sockets/plasma_store"
_SOCKET_BYTES = 107
_ROOM = _SOCKET_BYTES - len(_LONGEST_SOCKET) - len("/") - len(_PREFIX) - _RANDOM_CHARACTERS
"""Bytes of the longest path of a directory for Ray's own."""
_NO_ROOM = "Ray keeps its sockets, logs and spilled blocks there; or name another directory in RAY_TMPDIR"


@contextmanager
def private_ray() -> Generator[str]:
    """Makes ready for a Ray that nobody else can reach, in the directory that it yields.

    All of Ray's servers listen on loopback alone and answer to a new token, whatever HOME, `~/.ray` and the user's
    variables say. Directories of drivers that were killed are cleared away.

    Raises:
        UserError: There is no place for sockets and logs, too few files may be open, or loopback is down.
    """
    base = _base()
    check_machine(base)
    _clear_abandoned(Path(base))
    place, lock = _directory(base)
    try:
        with _own_token(place), _loopback_alone():
            yield str(place / "r")
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def check_machine(base: str) -> None:
    """Checks what Ray would fail at slowly, or with another message.

    Args:
        base: The directory for Ray's own.

    Raises:
        UserError: As `private_ray`.
    """
    if _length(base) > _ROOM:
        raise UserError(
            f"{base} is too long for the names of sockets, {_length(base)} bytes where at most {_ROOM} fit; set "
            "RAY_TMPDIR to a directory with a shorter path"
        )
    try:
        free = shutil.disk_usage(base).free
    except OSError as error:
        raise UserError(f"{base}: {error.strerror}; {_NO_ROOM}") from error
    if free < LEAST_FREE_BYTES:
        raise UserError(f"{base} has {free >> 20} MiB free, and Ray needs {LEAST_FREE_BYTES >> 20}: {_NO_ROOM}")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files != resource.RLIM_INFINITY and files < LEAST_OPEN_FILES:
        raise UserError(
            f"this process may open {files} files, and Ray needs {LEAST_OPEN_FILES}; raise the limit: `ulimit -n 4096`"
        )
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        raise UserError(
            f"the loopback interface, {LOOPBACK}, does not work ({error.strerror or error}), and Ray's processes speak "
            "over it; bring it up: `ip link set lo up`"
        ) from error


def _base() -> str:
    """The directory for Ray's own: TMPDIR, which was not chosen for Ray, only where sockets fit there."""
    usual = os.environ.get("TMPDIR") or "/tmp"
    return os.environ.get("RAY_TMPDIR") or (usual if _length(usual) <= _ROOM else "/tmp")


def _length(path: str) -> int:
    return len(os.fsencode(os.path.abspath(path)))


def _directory(base: str) -> tuple[Path, int]:
    """Makes a directory and returns it with the file that holds its lock."""
    try:
        with explain_full_disk(base, _NO_ROOM):
            place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
            lock = os.open(place / f"{_OWNER}.new", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(place / f"{_OWNER}.new", place / _OWNER)
    except PermissionError as error:
        raise UserError(f"{base} can't be written; {_NO_ROOM}") from error
    return place, lock


def _clear_abandoned(base: Path) -> None:
    """Removes the directories of this user's processes that were killed: nobody holds their locks."""
    for owner in base.glob(f"{_PREFIX}{'?' * _RANDOM_CHARACTERS}/{_OWNER}"):
        try:
            lock = os.open(owner, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_uid == os.getuid():  # root may open those of others
                shutil.rmtree(owner.parent, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


@contextmanager
def _own_token(place: Path) -> Generator[None]:
    path = place / _TOKEN
    with explain_full_disk(str(place), _NO_ROOM), open(path, "x", opener=_for_owner) as file:
        file.write(secrets.token_hex(32))
    # A token in a variable would come before that in a file.
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path), "RAY_AUTH_TOKEN": ""}
    try:
        with environment(own, override=True):
            read_token_again()
            yield
    finally:
        read_token_again()


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_token_again() -> None:
    """Has Ray read token and mode again, which it keeps for the whole process."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _loopback_alone() -> Generator[None]:
    """Has all of Ray's servers listen on loopback, as Ray does where it supports no clusters.

    Its own setting for that is read as Ray is imported, here for a process that may join a cluster later. A node's
    address of 127.0.0.1 is replaced by Ray, and without one its servers listen on all interfaces.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    # Without a name of an interface gloo listens where the host's name leads.
    told = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    try:
        with environment(told, override=True):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
