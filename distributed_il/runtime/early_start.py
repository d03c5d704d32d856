"""Starts a run: its Ray comes up while torch is imported, which takes about as long."""

from __future__ import annotations

from distributed_il.runtime.session import ray_session  # isort: skip  # before Ray

import importlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import chain
from typing import Any

from distributed_il.core.config import TrainConfig


def start_run(config: TrainConfig) -> dict[str, Any]:
    """Does what `launch` does, and begins it sooner; `open_run` has told of it.

    Raises:
        As `distributed_il.runtime.launch.launch`.
    """
    (result,) = start_runs([config])
    return result


def start_runs(configs: Iterable[TrainConfig]) -> Iterator[dict[str, Any]]:
    """Does what `start_run` does for one run after the other, on one Ray; each is taken as it is about to begin."""
    ahead = iter(configs)
    first = next(ahead, None)
    if first is None:
        return
    launching = _imported_aside("distributed_il.runtime.launch")
    with ray_session(cpus=first.run.workers * first.run.threads_per_worker):
        for config in chain([first], ahead):
            yield launching.result().launch(config)


def _imported_aside(name: str) -> Future[Any]:
    """Imports a module in a thread of its own."""
    imported: Future[Any] = Future()

    def run() -> None:
        try:
            imported.set_result(importlib.import_module(name))
        except BaseException as error:
            imported.set_exception(error)

    threading.Thread(target=run, name=f"import {name}", daemon=True).start()
    return imported
