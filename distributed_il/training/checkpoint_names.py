"""names.json: which checkpoint of a run is `last` and which `best`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, cast

from pyarrow import fs as pafs

from distributed_il.core.documents import read_document
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem, read_whole
from distributed_il.training.checkpoint_manifest import CURE

NAMES_FILE = "names.json"
"""In a run's `checkpoints`."""
DIRECTORY = re.compile(r"[0-9]{6,}-[0-9]{8,}$")
"""Names of the directories of checkpoints."""
Name = Literal["last", "best"]


class _NamesDocument(TypedDict):
    last: NotRequired[str]
    best: NotRequired[str]
    sha256: NotRequired[dict[Name, str]]


class CheckpointNames(NamedTuple):
    """What the names stand for: directories, and the hashes of their manifests, which an earlier version left out."""

    directories: dict[Name, str]
    hashes: dict[Name, str]

    def with_names(self, names: Collection[Name], directory: str, sha256: str) -> CheckpointNames:
        """The same with some names for another checkpoint."""
        return CheckpointNames(
            self.directories | dict.fromkeys(names, directory), self.hashes | dict.fromkeys(names, sha256)
        )

    def document(self) -> dict[str, Any]:
        """The content of the file."""
        return {**self.directories, "sha256": self.hashes}


def last_checkpoint(run_dir: str) -> tuple[int, int] | None:
    """Looks up where a run stands: rounds finished and optimiser steps taken; None before its first checkpoint.

    Raises:
        UserError: The names are damaged.
    """
    fs, root = filesystem(run_dir)
    path = f"{root.rstrip('/')}/checkpoints/{NAMES_FILE}"
    if fs.get_file_info(path).type == pafs.FileType.NotFound:
        return None
    directory = read_names(path, read_whole(fs, path)).directories.get("last")
    if directory is None:
        return None
    rounds, steps = directory.split("-")
    return int(rounds), int(steps)


def read_names(path: str, content: bytes) -> CheckpointNames:
    """Reads names.json; raises `UserError` where it is damaged."""
    document: dict[str, Any] = dict(read_document(content, _NamesDocument, path, CURE))
    hashes = document.pop("sha256", {})
    known = set(document) <= {"last", "best"} and ("last" in document or not document)
    if not known or not all(DIRECTORY.match(name) for name in document.values()):
        raise UserError(f"{path} is damaged: it names checkpoints as `last` and `best`; {CURE}")
    return CheckpointNames(cast("dict[Name, str]", document), hashes)
