"""Paths that a document names lead to files beside it, and nowhere else."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable

from pyarrow import fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.core.files import is_local


def require_inside(fs: pafs.FileSystem, root: str, paths: Iterable[str], document: str) -> None:
    """Refuses paths that leave a directory, by their words or by symbolic links.

    Args:
        fs: Where the directory lies.
        root: The directory on `fs`; it may be a link itself.
        paths: Relative to it.
        document: What names them, for messages.

    Raises:
        UserError: A path is absolute, goes up, or is or passes a link that leads out of the directory.
    """
    links: dict[str, bool] = {}
    for path in paths:
        if not _is_below(path):
            raise UserError(
                f"{document} names {path!r}, which is no path below {root}; it is damaged or forged: take another copy"
            )
        if is_local(fs) and any(_leads_out(root, part, links) for part in _steps(path)):
            raise UserError(
                f"{root}/{path}, which {document} names, is a link that leads out of the directory; put the file "
                "itself there"
            )


def _is_below(path: str) -> bool:
    """Returns whether the words lead down from a directory, one way only to write it."""
    if not isinstance(path, str) or "\0" in path or not path:  # pyright: ignore[reportUnnecessaryIsInstance]
        return False
    return posixpath.normpath(path) == path and path[0] != "/" and path.partition("/")[0] not in (".", "..")


def _steps(path: str) -> Iterable[str]:
    """Returns the path and all directories on the way."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts) + 1))


def _leads_out(root: str, step: str, known: dict[str, bool]) -> bool:
    if step not in known:
        place = f"{root}/{step}"
        home = os.path.realpath(root) if os.path.islink(place) else ""
        known[step] = bool(home) and os.path.commonpath([home, os.path.realpath(place)]) != home
    return known[step]
