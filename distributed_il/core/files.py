"""Files on any pyarrow filesystem: paths, hashes, full disks, and files and directories that appear complete."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from distributed_il.core.errors import UserError

_FULL = {errno.ENOSPC: "is full", errno.EDQUOT: "is at its quota", errno.EFBIG: "takes no files of that size"}
_CHUNK_BYTES = 4 << 20


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """Returns the filesystem that a local path or a pyarrow URI leads to, and the path on it.

    The URI begins with `s3://`, `gs://`, `hdfs://` or `file://`; the path returned has no scheme and no trailing slash,
    and is absolute where it is local.

    Raises:
        UserError: The URI is of no known scheme, or its filesystem can't be reached.
    """
    if "://" not in path:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    try:
        found, inside = pafs.FileSystem.from_uri(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UserError(f"{path}: {error}; give a local path or a URI such as s3://bucket/directory") from error
    return found, inside.rstrip("/") or "/"


def is_local(fs: pafs.FileSystem) -> bool:
    """Returns whether files of this filesystem can be memory-mapped and renamed."""
    return isinstance(fs, pafs.LocalFileSystem)


PREPARING = "nothing was kept, and preparing needs about five times the size of the finished dataset while it runs"
RESUMABLE = "then the same command goes on from the run's last checkpoint"
"""Hints that end the message of a full disk."""


@contextmanager
def explain_full_disk(path: str, hint: str = PREPARING) -> Generator[None]:
    """Turns an `OSError` for lack of room while `path` is written into a `UserError` whose message ends in `hint`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(
            f"{path}: the disk {_FULL[error.errno]} ({error.strerror}); make room there, or write to another place; "
            f"{hint}"
        ) from error


class HashingSink(io.RawIOBase):
    """A file that is written once, counts its bytes and knows their SHA-256."""

    def __init__(self, fs: pafs.FileSystem, path: str) -> None:
        super().__init__()
        self._stream = fs.open_output_stream(path, compression=None)
        self._hash = hashlib.sha256()
        self.bytes = 0
        """Bytes written so far."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self._hash.update(data)
        size = memoryview(data).nbytes
        self.bytes += size
        return size

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of what was written."""
        return self._hash.hexdigest()


def sha256_of(fs: pafs.FileSystem, path: str) -> str:
    """Returns the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with fs.open_input_stream(path, compression=None) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(fs: pafs.FileSystem, path: str, content: bytes) -> None:
    """Writes a file that appears complete or not at all.

    Object stores show an object only once its upload is complete; elsewhere the file is written beside its place and
    moved there.

    Raises:
        UserError: The disk is full.
    """
    aside = f"{path}.tmp" if is_local(fs) else path
    with explain_full_disk(path, RESUMABLE):
        with fs.open_output_stream(aside, compression=None) as stream:
            stream.write(content)
        if aside != path:
            fs.move(aside, path)


def read_whole(fs: pafs.FileSystem, path: str) -> bytes:
    """Reads a file to its end.

    Raises:
        OSError: It can't be read; unlike Arrow's own error of a connection that breaks off, it names the file.
    """
    with fs.open_input_file(path) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise OSError(f"{path} can't be read ({error})") from error


def write_run_file(run_dir: str, name: str, content: str) -> None:
    """Writes a text file of a run, complete or not at all; `run_dir`, a path or pyarrow URI, is made where missing."""
    fs, root = filesystem(run_dir)
    fs.create_dir(root, recursive=True)
    write_atomically(fs, f"{root}/{name}", content.encode())


def read_run_file(run_dir: str, name: str) -> str | None:
    """Reads a text file of a run; None where there is none."""
    fs, root = filesystem(run_dir)
    if fs.get_file_info(f"{root}/{name}").type != pafs.FileType.File:
        return None
    return read_whole(fs, f"{root}/{name}").decode(errors="replace")


def to_json(values: Mapping[str, Any]) -> str:
    """Serialises values to JSON, with null for numbers that JSON can't hold."""
    return json.dumps(plain_values(values), indent=2) + "\n"


def plain_values(value: Any) -> Any:
    """Returns a value as JSON can hold it: with null for numbers that it can't."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class StagedDirectory:
    """A directory that is built aside and appears complete, or not at all.

    Local: built as `PATH.tmp-<pid>` and renamed. Elsewhere, where directories can't be renamed, it is built in place,
    and whoever reads it must look for the file that is written last.
    """

    def __init__(self, path: str) -> None:
        """Makes the directory to build in.

        Raises:
            UserError: `path` is a file, or a directory that holds something, or can't be made.
        """
        self.filesystem, self.target = filesystem(path)
        self._lock: int | None = None
        with explain_full_disk(path):
            _require_empty(self.filesystem, self.target, path)
            try:
                if is_local(self.filesystem):
                    self._stage_locally()
                else:
                    self.building = self.target
                    self.filesystem.create_dir(self.building, recursive=True)
                    self.scratch = Path(tempfile.mkdtemp(prefix="distributed-il-"))
            except OSError as error:
                if error.errno in _FULL:
                    raise
                why = error.strerror or error
                raise UserError(f"{path} can't be made: {why}; choose a place you may write to") from error

    building: str
    """Where to build, on `filesystem`."""
    scratch: Path
    """A local directory for temporary files; it goes away with the staging."""

    def _stage_locally(self) -> None:
        target = Path(self.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        staging = target.with_name(f"{target.name}.tmp-{os.getpid()}")
        staging.mkdir()
        self.building = str(staging)
        # The lock tells a later run that somebody is still building here.
        self._lock = os.open(staging, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.scratch = staging / "scratch"
        self.scratch.mkdir()

    def drop_scratch(self) -> None:
        """Removes the temporary files."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def publish(self) -> None:
        """Makes the directory appear under its own name; raises `UserError` if something else is there meanwhile."""
        self.drop_scratch()
        if self.building != self.target:
            _require_empty(self.filesystem, self.target, self.target)
            os.rename(self.building, self.target)
        self._unlock()

    def discard(self) -> None:
        """Removes all that was written."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self.filesystem.get_file_info(self.building).type == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.building)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _require_empty(fs: pafs.FileSystem, target: str, path: str) -> None:
    info = fs.get_file_info(target)
    if info.type == pafs.FileType.File:
        raise UserError(f"{path} is a file; give a directory that does not exist yet")
    if info.type == pafs.FileType.Directory and fs.get_file_info(pafs.FileSelector(target)):
        raise UserError(f"{path} is not empty; give a directory that does not exist yet, or empty this one first")


def _remove_abandoned(target: Path) -> None:
    """Removes what a killed run left beside the target: staging directories that nobody holds locked."""
    pattern = re.compile(re.escape(target.name) + r"\.tmp-\d+")
    for candidate in target.parent.iterdir():
        if not pattern.fullmatch(candidate.name) or not candidate.is_dir():
            continue
        handle = os.open(candidate, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(candidate, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(handle)
