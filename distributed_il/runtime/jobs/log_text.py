"""A job's log as its user wants it: what the job said, without Ray's lines about itself."""

from __future__ import annotations

import re
from collections.abc import Callable

_OF_RAY = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\tINFO \w+\.py:\d+ -- |Running entrypoint for job [A-Za-z0-9._-]+: "
)


class LogText:
    """Takes the log in pieces, wherever they are cut, and writes whole lines."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """Shows nothing yet.

        Args:
            write: Takes lines, each with its end.
        """
        self._write = write
        self._part = ""
        self.taken = 0
        """Characters taken so far, those of Ray's lines included: where to go on after a lost connection."""

    def take(self, piece: str) -> None:
        """Writes the lines that a piece completes."""
        self.taken += len(piece)
        *lines, self._part = (self._part + piece).split("\n")
        for line in lines:
            self._show(f"{line}\n")

    def end(self) -> None:
        """Writes what no end of line came after."""
        if self._part:
            self._show(f"{self._part}\n")
        self._part = ""

    def _show(self, line: str) -> None:
        if not _OF_RAY.match(line):
            self._write(line)
