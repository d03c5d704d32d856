"""TensorBoard files of a process that may be killed: what it had not handed to the files is lost with it."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.kill_switch import KillSwitch
from distributed_il.core import drawing
from distributed_il.training.monitor import TensorBoardMonitor


class KillableMonitor:
    """A monitor whose process may be killed before and after each call."""

    def __init__(self, log_dir: str, *, purge_step: int, attempt: int, switch: KillSwitch) -> None:
        """Opens the files of one process.

        Args:
            log_dir: Local directory of all processes of the run.
            purge_step: See `TensorBoardMonitor`.
            attempt: Number of the process; its file comes behind those of the ones before it.
            switch: May end the process.
        """
        before = set(Path(log_dir).glob("events.*"))
        self._inner, self._switch = TensorBoardMonitor(log_dir, purge_step=purge_step), switch
        (self._file,) = set(Path(log_dir).glob("events.*")) - before
        self._attempt, self._safe_bytes = attempt, 0

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._switch()
        self._inner.scalars(values, step)
        self._switch()

    def histogram(self, tag: str, counts: NDArray[np.int64], edges: NDArray[np.float64], step: int) -> None:
        self._switch()
        self._inner.histogram(tag, counts, edges, step)

    def image(self, tag: str, picture: NDArray[np.uint8], step: int) -> None:
        self._switch()
        self._inner.image(tag, picture, step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        self._switch()
        self._inner.text(tag, markdown, step)

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int) -> None:
        self._switch()
        self._inner.hparams(config, metrics, step)

    def flush(self) -> None:
        self._switch()
        self._inner.flush()
        self._safe_bytes = self._file.stat().st_size
        self._switch()

    def close(self) -> None:
        """The ordinary end."""
        self._inner.__exit__()
        # Files are read in the order of their names, which begin with the second they were opened in; here several
        # processes fit into one. The writer finds its file by its name, so it keeps that until now.
        self._file = self._file.rename(self._file.with_name(f"events.out.tfevents.{self._attempt:010d}"))

    def lose(self, chance: np.random.Generator) -> None:
        """The end by a kill: any number of bytes behind the last flush is lost."""
        self.close()
        os.truncate(self._file, int(chance.integers(self._safe_bytes, self._file.stat().st_size, endpoint=True)))


@contextmanager
def blank_pictures() -> Generator[None]:
    """Inside, figures are black squares: to draw them would take most of a short run's time."""
    square = np.zeros((8, 8, 3), dtype=np.uint8)
    with mock.patch.object(drawing, "pixels", return_value=square):
        yield
