"""Which local clusters of this user run, and how a process that did not start them finds them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from distributed_il.core.errors import UserError

_STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A cluster that is up."""

    pid: int
    """The process that holds it."""
    nodes: dict[str, int]
    """The process that runs each node, by the node's name."""
    dashboard: str
    """URL of the dashboard and the job API."""
    outer_environment: dict[str, str]
    """The variables that Ray's job commands need."""
    inner_variables: dict[str, str]
    """The variables that a process on a node needs."""
    enter_head: list[str]
    """Comes before a command that is to run on the head."""


def place(name: str) -> Path:
    """The directory of the cluster `name`, within one that only this user can read.

    Raises:
        UserError: The name is no plain word, or the directory is somebody else's.
    """
    if not re.fullmatch(r"[a-z0-9-]{1,12}", name):
        raise UserError(f"'{name}' can't name a cluster: take 1 to 12 small letters, digits and dashes")
    home = Path(tempfile.gettempdir()) / f"il-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    found = home.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UserError(f"{home} is not a directory of this user alone; move it away")
    return home / name


@contextmanager
def held(name: str) -> Generator[Path]:
    """Holds the name of a cluster for as long as the block, or this process, lasts; yields its directory.

    Raises:
        UserError: A cluster of this name is up.
    """
    directory = place(name)
    with directory.with_suffix(".lock").open("w") as lock:
        if not _lock(lock.fileno()):
            raise UserError(f"cluster {name} is up already; `python -m cluster.local down --name {name}` ends it")
        yield directory


def announce(name: str, running: Running) -> None:
    """Lets others find the cluster; `find` tells when its holder has ended."""
    state = place(name) / "running.json"
    with os.fdopen(os.open(state, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(running), file)


def find(name: str) -> Running | None:
    """The cluster of this name, or None where it is not up, or not yet."""
    directory = place(name)
    lock = directory.with_suffix(".lock")
    if not lock.exists():
        return None
    with lock.open() as file:
        if _lock(file.fileno()):  # nobody holds it
            return None
    try:
        return Running(**json.loads((directory / "running.json").read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def found(name: str) -> Running:
    """The cluster of this name.

    Raises:
        UserError: It is not up.
    """
    running = find(name)
    if running is None:
        raise UserError(f"no cluster {name} is up; `python -m cluster.local up --name {name}` starts one")
    return running


def stop(name: str) -> None:
    """Ends the cluster of this name.

    Raises:
        UserError: It is not up, or does not end.
    """
    running = found(name)
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while find(name) is not None:
        if time.monotonic() > deadline:
            raise UserError(f"cluster {name} does not end; see process {running.pid}")
        time.sleep(0.1)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
