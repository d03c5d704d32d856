"""Files of a run: written aside and then moved, so that a file under its own name is always whole."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from pyarrow import fs as pafs

from distributed_il.core.files import filesystem, is_local, told_when_full


@contextmanager
def full_disk_ends_run(path: str) -> Generator[None]:
    """Ends the run with the cure where a disk has no room for one of its files.

    Args:
        path: The file or directory that is being written.

    Raises:
        UserError: In place of an `OSError` whose number means that there is no room.
    """
    with told_when_full(path, "then the same command goes on from the run's last checkpoint"):
        yield


def write_aside(fs: pafs.FileSystem, path: str, content: bytes) -> None:
    """Writes a file that appears whole or not at all.

    Object stores show an object only once its upload is complete; elsewhere the file is written beside its place and
    moved there.

    Args:
        fs: The filesystem.
        path: Path on it.
        content: What to write.

    Raises:
        UserError: The disk is full.
    """
    aside = f"{path}.tmp" if is_local(fs) else path
    with full_disk_ends_run(path):
        with fs.open_output_stream(aside, compression=None) as stream:
            stream.write(content)
        if aside != path:
            fs.move(aside, path)


def write_run_file(run_dir: str, name: str, content: str) -> None:
    """Writes a text file of a run, whole or not at all.

    Args:
        run_dir: Directory or pyarrow URI of the run; made where it is missing.
        name: Name of the file in it.
        content: Its text.
    """
    fs, root = filesystem(run_dir)
    fs.create_dir(root, recursive=True)
    write_aside(fs, f"{root}/{name}", content.encode())


def read_run_file(run_dir: str, name: str) -> str | None:
    """Text of a file of a run; None where there is none."""
    fs, root = filesystem(run_dir)
    if fs.get_file_info(f"{root}/{name}").type != pafs.FileType.File:
        return None
    with fs.open_input_file(f"{root}/{name}") as stream:
        return stream.read().decode()


def to_json(values: Mapping[str, Any]) -> str:
    """JSON with null in place of numbers that JSON has no word for."""
    return json.dumps(_plain(values), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
