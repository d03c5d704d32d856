"""Files whose SHA-256 is recorded: verified when a process first reads them, and again when they have changed."""

from __future__ import annotations

import os

import pyarrow.fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.core.files import is_local, sha256_of

_Version = tuple[int, ...]
_verified: dict[tuple[str, str, str], _Version] = {}
"""What this process has found whole: the file's version by filesystem, path and SHA-256."""


def require_whole(fs: pafs.FileSystem, path: str, sha256: str, cure: str) -> None:
    """Refuses a file whose content is not what was recorded, before anything is read from it.

    A file is read through for that once in a process, not at each reading; a local one again once it is another.

    Args:
        fs: Where it lies.
        path: Its path there.
        sha256: Of its content, hexadecimal.
        cure: What to do about damage, for the message.

    Raises:
        UserError: Its content is another, or can't be read.
    """
    key = (fs.type_name, path, sha256)
    try:
        version = _version(fs, path)
        if _verified.get(key) == version:
            return
        found = sha256_of(fs, path)
    except OSError as error:
        raise UserError(f"{path} can't be read ({error}); {cure}") from error
    require_hash(path, found, sha256, cure)
    _verified[key] = version


def require_hash(path: str, found: str, recorded: str, cure: str) -> None:
    """Raises `UserError` unless the SHA-256 of a file is the one that was recorded."""
    if found != recorded:
        raise UserError(
            f"{path} is not what was written: its SHA-256 is {found[:12]}… instead of {recorded[:12]}…; {cure}"
        )


def _version(fs: pafs.FileSystem, path: str) -> _Version:
    """What changes when a local file does; objects of a store are replaced as a whole, and asking costs a request."""
    if not is_local(fs):
        return ()
    found = os.stat(path)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
