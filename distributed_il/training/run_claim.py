"""One driver at a time in a run's directory: a document names it, and is written again while it lives.

RUN/driver.json    which process on which machine; gone with the end of the run

It needs neither renames nor locks of files, so it works on object stores: who writes it reads it back, and each
checkpoint reads it again. Two that begin at the same moment may both go on until then; the one that finds the other
named ends before it has written anything. How old the document is, the storage's own clock tells.
"""

from __future__ import annotations

import dataclasses
import json
import os
import posixpath
import socket
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem, is_local, read_whole, write_atomically

CLAIM_FILE = "driver.json"
BEAT_S = 15.0
"""How often a driver writes its document."""
SILENT_S = 90.0
"""Seconds without that after which a driver of another machine is taken for dead."""
_PROC = Path("/proc")
_ENDED = "ZX"
"""States of a process that has ended, whether its parent has asked for it or not."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A process that drives a run."""

    id: str  # of this claim
    host: str
    machine: str  # the boot's id and the namespace of process numbers; empty where the system does not tell them
    pid: int
    started: int  # clock ticks from the boot to the process's start

    def lives(self) -> bool | None:
        """Returns whether the process is there; None where it can't be known, as it is on another machine."""
        if not self.machine or self.machine != _machine():
            return None
        state, started = _state(self.pid)
        return state not in _ENDED and started == self.started


@dataclass(frozen=True, slots=True)
class RunClaim:
    """A run's hold on its directory, as any of its processes can check it."""

    run_dir: str
    id: str

    def check(self) -> None:
        """Makes sure that the directory is still this run's.

        Raises:
            TakenOver: It is another run's, or nobody's.
        """
        fs, path = _place(self.run_dir)
        holder = _read(fs, path)
        if holder is None or holder.id != self.id:
            by = "was given up" if holder is None else f"was taken over by process {holder.pid} on {holder.host}"
            raise TakenOver(
                f"run.dir {self.run_dir} {by} ({path}); this run ends, and its last checkpoint stands; two runs "
                "need two directories"
            )


class TakenOver(UserError):
    """Another run has this one's directory."""


@contextmanager
def claim_run(run_dir: str, *, take_over: bool = False) -> Generator[RunClaim]:
    """Holds a run's directory for as long as the block lasts.

    What a dead process of this machine held is taken over at once, and what one of another machine held once its
    document has not been written for 90 s.

    Args:
        run_dir: Path or pyarrow URI; made where missing.
        take_over: Whether to take the directory from a driver of another machine that may live.

    Raises:
        UserError: Another driver holds it, or the document is damaged.
    """
    fs, path = _place(run_dir)
    fs.create_dir(posixpath.dirname(path), recursive=True)
    own = Driver(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), _state(os.getpid())[1])
    content = json.dumps(dataclasses.asdict(own)).encode()
    _require_free(fs, path, run_dir, take_over=take_over)
    with suppress(FileNotFoundError):  # another one has moved what was written beside it
        write_atomically(fs, path, content)
    claim, ended = RunClaim(run_dir, own.id), threading.Event()
    claim.check()
    beating = threading.Thread(target=_beat, args=(fs, path, content, claim, ended), name="claim", daemon=True)
    beating.start()
    try:
        yield claim
    finally:
        ended.set()
        beating.join()
        with suppress(OSError, UserError):  # a document that stays names a process that has ended
            claim.check()
            fs.delete_file(path)


def _beat(fs: pafs.FileSystem, path: str, content: bytes, claim: RunClaim, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        try:
            claim.check()
            if is_local(fs):
                os.utime(path)  # who reads it at this moment, through NFS perhaps, finds the same file
            else:
                write_atomically(fs, path, content)
        except UserError:
            return  # the next checkpoint finds it too, and says so
        except OSError:
            continue  # storage that does not answer now may do so the next time


def _require_free(fs: pafs.FileSystem, path: str, run_dir: str, *, take_over: bool) -> None:
    try:
        holder = _read(fs, path)
    except UserError:
        if take_over:
            return
        raise
    lives = False if holder is None else holder.lives()
    if holder is None or lives is False:
        return
    if lives:
        raise UserError(
            f"run.dir {run_dir} is in use by process {holder.pid}, which trains there; wait for its end or stop it, or "
            "give another run.dir"
        )
    silent_s = _silent_s(fs, path)
    if not take_over and silent_s < SILENT_S:
        raise UserError(
            f"run.dir {run_dir} is in use by process {holder.pid} on {holder.host}, which gave a sign of life "
            f"{silent_s:.0f} s ago; give another run.dir, or try again when it has given none for {SILENT_S:.0f} s, or "
            "take the directory from it with --take_over"
        )


def _silent_s(fs: pafs.FileSystem, path: str) -> float:
    """Returns the seconds since the document was written; 0 where the storage keeps no times."""
    now = f"{path}-{uuid.uuid4().hex}"
    with fs.open_output_stream(now, compression=None) as stream:
        stream.write(b"now")
    written, asked = fs.get_file_info([path, now])
    fs.delete_file(now)
    return (asked.mtime_ns - written.mtime_ns) / 1e9 if written.mtime_ns and asked.mtime_ns else 0.0


def _place(run_dir: str) -> tuple[pafs.FileSystem, str]:
    fs, root = filesystem(run_dir)
    return fs, f"{root}/{CLAIM_FILE}"


def _read(fs: pafs.FileSystem, path: str) -> Driver | None:
    """Returns the driver that the document names; None where there is no document.

    Raises:
        UserError: It is damaged.
    """
    try:
        values: Any = json.loads(read_whole(fs, path))
        driver = Driver(**values)
        if all(isinstance(value, int if field in ("pid", "started") else str) for field, value in values.items()):
            return driver
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        pass
    raise UserError(
        f"{path} is damaged: it names the process that trains in this directory; if you know that there is none, take "
        "the directory with --take_over"
    )


def _machine() -> str:
    """Returns what is alike for two processes if, and only if, they know each other by number."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _state(pid: int) -> tuple[str, int]:
    """Returns the state of a process, a letter, and when it started, in ticks; X and 0 for one that is not there."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[19])
