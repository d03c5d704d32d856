"""The dense way in a process of its own, in an environment of its own: it takes a step whenever it is asked to.

Allocator settings are read as a process starts, and what a trainer sets for its workers the published program lacks.

    python -m benchmarks.steps.dense_process gmf 170000 1024 cpu      # a step for each line read, its seconds as a line
"""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch

from benchmarks.steps.dense_way import DenseWay
from benchmarks.steps.step_cases import Size, StepCase, wait_for
from distributed_il.core.process import process_environment


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the settings of a run's workers, but for the number of threads.

    Args:
        environment: Names and values.
    """
    ours = process_environment(1).keys() - {"OMP_NUM_THREADS"}
    return {name: value for name, value in environment.items() if name not in ours}


class DenseProcess:
    """A process with the dense way's three models; end it with `with`."""

    def __init__(self, size: Size, device: str, environment: Mapping[str, str]) -> None:
        """Starts it and waits until its models stand.

        Args:
            size: What is trained.
            device: Where.
            environment: All variables of the process.
        """
        arguments = (size.backbone, size.rows, size.batch, device)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.steps.dense_process", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=dict(environment),
        )
        self._line()

    def step(self) -> float:
        """Takes an inverse step.

        Returns:
            Its seconds, as the process itself has timed them.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def __enter__(self) -> DenseProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()  # closes its input, at whose end it leaves

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            raise RuntimeError(f"the dense way's process ended with code {self._process.returncode}")
        return line


def main() -> None:
    """Builds the models, then takes a step for each line of input."""
    backbone, rows, batch, device = sys.argv[1:]
    torch.set_num_threads(1)
    case = StepCase(Size(backbone, int(rows), int(batch)), torch.device(device))
    dense = DenseWay(case.learner, dual_learning_rate=case.config.dual_learning_rate)
    pool = itertools.cycle(case.batches["inverse"])
    del case
    gc.collect()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        dense.inverse_step(next(pool))
        wait_for(torch.device(device))
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
