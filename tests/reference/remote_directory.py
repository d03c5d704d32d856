"""A directory that looks like one on another machine: files there can be neither mapped nor renamed as directories."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs as pafs
import pytest

import distributed_il.core.files
import distributed_il.data.dataset.reader
import distributed_il.data.prepare.sources.files


def serve_as_remote(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Makes paths that begin with `remote://` lead into the directory, on a filesystem that is not the local one."""
    remote = pafs.SubTreeFileSystem(str(directory), pafs.LocalFileSystem())
    ordinary = distributed_il.core.files.filesystem

    def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
        return (remote, path.removeprefix("remote://")) if path.startswith("remote://") else ordinary(path)

    for module in (
        distributed_il.core.files,
        distributed_il.data.dataset.reader,
        distributed_il.data.prepare.sources.files,
    ):
        monkeypatch.setattr(module, "filesystem", filesystem)
