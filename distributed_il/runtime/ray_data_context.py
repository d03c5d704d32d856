"""How executions of Ray Data are set: silent, and with a scheduling loop that rests."""

from __future__ import annotations

import logging
import time

import ray.data
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.streaming_executor import StreamingExecutor

PAUSE_S = 0.02
"""Rest of Ray Data's scheduling loop between two turns."""
MOST_PAUSES = 10
"""Rests between two turns while rows lie ready: a turn takes 2 ms of the interpreter from the step."""


def silence(rows: ray.data.Dataset) -> None:
    """Keeps bars, plans and errors of an execution off the console: every error is raised to who reads the rows."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows.context.enable_progress_bars = False
    rows.context.print_on_execution_start = False


def rest(rows: ray.data.Dataset) -> None:
    """Lets the scheduling loop rest, which is a thread of the process that works on the rows.

    Once as many bytes lie ready as may, the loop is told at once that there is more to read, leaves it, and turns
    without end: on the interpreter lock it slows a training step by ten times. While rows lie ready, the loop has
    nothing to do but to keep them coming, and rests for longer; the rest ends soon after the last of them is taken,
    as whoever reads now waits for what the next turn starts.
    """
    context = rows.context
    context.custom_execution_callback_classes = [*context.custom_execution_callback_classes, _Pause]


class _Pause(ExecutionCallback):
    def on_execution_step(self, executor: StreamingExecutor) -> None:
        for _ in range(MOST_PAUSES):
            time.sleep(PAUSE_S)
            if executor._consumer_idling():  # pyright: ignore[reportPrivateUsage]
                return
