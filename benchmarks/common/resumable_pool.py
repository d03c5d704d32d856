"""Training tasks over processes, one per core, each result kept as soon as it is there."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.common.training_task import TrainingTask, carry_out
from distributed_il.core.files import to_json, write_run_file
from distributed_il.core.process import process_environment
from distributed_il.evaluation.selection import Selection

GUESSED_SECONDS = {"gmf": 30.0, "neumf": 90.0}

Result = dict[str, Any]


class ResumablePool:
    """Carries out tasks; what a stopped benchmark had finished is not done again.

    Attributes:
        directory: Where results are kept, one JSON file a task.
    """

    def __init__(
        self,
        directory: Path,
        *,
        jobs: int,
        datasets: Mapping[str, str],
        expected: Sequence[TrainingTask],
        work: Callable[[TrainingTask], Result] = carry_out,
    ) -> None:
        """Prepares; nothing runs yet.

        Args:
            directory: Where results are kept.
            jobs: Processes.
            datasets: Fingerprints of the datasets that the tasks train on, by their paths.
            expected: All tasks to come, as far as the time left goes; only their number and backbones count.
            work: Carries out a task: a function of a module, called in another process.
        """
        self.directory, self._jobs, self._datasets, self._work = directory, jobs, datasets, work
        self._left = [_backbone(task) for task in expected]
        self._total = len(self._left)
        self._seconds: dict[str, list[float]] = {}
        # None: the moving line shows on a terminal alone.
        self._bar: Any = tqdm(
            total=self._total, bar_format="{desc} {bar}", dynamic_ncols=True, leave=False, disable=None
        )

    def run(self, tasks: Sequence[TrainingTask]) -> dict[str, Result]:
        """Results by name of task, saved ones first.

        Args:
            tasks: What to carry out.
        """
        results: dict[str, Result] = {}
        for task in tasks:
            saved = self._saved(task)
            if saved is not None:
                results[task.name] = saved
                self._finished(task, saved)
        missing = [task for task in tasks if task.name not in results]
        if missing:
            self._note(f"{len(results)} of {len(tasks)} runs are there already, {len(missing)} to do")
        with _environment(process_environment(1)):
            for task, result in self._carried_out(missing):
                write_run_file(str(self.directory), f"{task.name}.json", to_json(result))
                results[task.name] = result
                self._finished(task, result)
                self._note(self._line(task, result))
        return results

    def close(self) -> None:
        """Takes the progress line away."""
        self._bar.close()

    def _carried_out(self, tasks: Sequence[TrainingTask]) -> Generator[tuple[TrainingTask, Result]]:
        if not tasks:
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._jobs, mp_context=context, initializer=_start) as executor:
            futures = {executor.submit(self._work, task): task for task in tasks}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                executor.shutdown(wait=False, cancel_futures=True)

    def _saved(self, task: TrainingTask) -> Result | None:
        path = self.directory / f"{task.name}.json"
        if not path.exists():
            return None
        result: Result = json.loads(path.read_text())
        same = (
            result["task"] == json.loads(json.dumps(task.identity())) and result["dataset"] == self._datasets[task.data]
        )
        return result if same else None

    def _finished(self, task: TrainingTask, result: Result) -> None:
        self._left.remove(_backbone(task))
        if not task.go_on:  # a run that is only measured says nothing about the time of training
            self._seconds.setdefault(_backbone(task), []).append(result["seconds"])
        self._bar.set_description_str(self._place(), refresh=False)
        self._bar.update()

    def _place(self) -> str:
        means = {name: sum(seconds) / len(seconds) for name, seconds in self._seconds.items()}
        left = sum(means.get(name, GUESSED_SECONDS.get(name, 60.0)) for name in self._left) / self._jobs
        return f"{self._total - len(self._left)}/{self._total} runs, {left / 60:.0f} min left"

    def _line(self, task: TrainingTask, result: Result) -> str:
        start = f"{time.strftime('%H:%M:%S')} [{self._place()}] {task.name}: "
        if "failed" in result:
            return start + result["failed"]
        run, selection = result["run"], Selection(task.select_by)
        return (
            start + f"best round {run['best_round']} of {run['rounds']}, validation {selection.name} "
            f"{selection.value(result['valid']):.4f}, {result['seconds']:.0f} s"
        )

    def _note(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


def _backbone(task: TrainingTask) -> str:
    return task.setting["model"]["backbone"]


def _start() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leaves no process behind that computes for nobody, where the benchmark was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Generator[None]:
    """Sets environment variables for the processes that start inside, and puts them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
