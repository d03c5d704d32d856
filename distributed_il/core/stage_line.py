"""One moving line for work in stages; nothing where nobody looks."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm


class StageLine:
    """Shows the present stage and how far it is; on a terminal only."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Shows nothing yet.

        Args:
            stream: Where to write; standard error by default.
        """
        self._stream: TextIO = sys.stderr if stream is None else stream
        self._bar: Any = None

    def __enter__(self) -> StageLine:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the line away."""
        if self._bar is not None:
            self._bar.close()

    def update(self, stage: str, done: int, total: int) -> None:
        """Shows where the work is.

        Args:
            stage: What is being done.
            done: Rows done.
            total: Rows in all; 0 where nobody knows.
        """
        if not self._stream.isatty():
            return
        if self._bar is None:
            self._bar = tqdm(file=self._stream, unit=" rows", unit_scale=True, leave=False, dynamic_ncols=True)
        self._bar.set_description(stage, refresh=False)
        self._bar.total = total or None
        self._bar.n = done
        self._bar.refresh()
