"""Runs in MLflow and in Weights & Biases, beside TensorBoard, by their own libraries; where to, their variables say.

Numbers are kept until the flush before a checkpoint and sent together, so that what a killed process had not covered by
one is not told twice, and training waits for a server once a round. A logger that fails is left out from there on, with
a word: a run does not end because a server is away.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.config import TrainConfig, config_to_dict, flat
from distributed_il.core.files import filesystem, is_local, read_run_file, write_run_file
from distributed_il.training.monitor.tensorboard import Monitor, TensorBoardMonitor

Points = Sequence[tuple[int, Mapping[str, float]]]
"""Numbers by name, with their steps, ascending."""
_MOST_OF_A_REQUEST = 1_000


class Logger(Protocol):
    """A run in a library for experiments."""

    def send(self, points: Points) -> None:
        """Hands over numbers."""

    def close(self, failed: bool) -> None:
        """Ends the run."""


class MlflowLogger:
    """A run in MLflow: the server of MLFLOW_TRACKING_URI, the experiment of MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, config: TrainConfig) -> None:
        """Begins a run, or goes on with that of `run.dir`."""
        import mlflow  # pyright: ignore[reportMissingImports]

        self._mlflow: Any = mlflow
        known = read_run_file(config.run.dir, "mlflow.txt")
        self._run_id = mlflow.start_run(run_id=known, run_name=None if known else _name(config)).info.run_id
        if known is None:
            write_run_file(config.run.dir, "mlflow.txt", self._run_id)
            mlflow.log_params({key: value for key, value in flat(config_to_dict(config)).items() if value is not None})

    def send(self, points: Points) -> None:
        now, metric = int(time.time() * 1000), self._mlflow.entities.Metric
        # MLflow takes no @ in a name.
        found = [metric(name.replace("@", "_at_"), value, now, step) for step, v in points for name, value in v.items()]
        for first in range(0, len(found), _MOST_OF_A_REQUEST):
            part = found[first : first + _MOST_OF_A_REQUEST]
            self._mlflow.MlflowClient().log_batch(self._run_id, metrics=part)

    def close(self, failed: bool) -> None:
        self._mlflow.end_run("KILLED" if failed else "FINISHED")


class WandbLogger:
    """A run in Weights & Biases, in the project of WANDB_PROJECT."""

    def __init__(self, config: TrainConfig) -> None:
        """Begins a run, or goes on with that of `run.dir`."""
        import wandb  # pyright: ignore[reportMissingImports]

        run_dir = config.run.dir
        known = read_run_file(run_dir, "wandb.txt")
        if known is None:
            known = uuid.uuid4().hex[:12]
            write_run_file(run_dir, "wandb.txt", known)
        place = run_dir if is_local(filesystem(run_dir)[0]) else None
        settings = config_to_dict(config)
        self._run: Any = wandb.init(id=known, resume="allow", name=_name(config), config=settings, dir=place)

    def send(self, points: Points) -> None:
        for step, values in points:
            self._run.log(dict(values), step=step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


LOGGERS: Mapping[str, Callable[[TrainConfig], Logger]] = {"mlflow": MlflowLogger, "wandb": WandbLogger}


class LoggingMonitor:
    """TensorBoard's files, and the numbers in them to loggers, too; a context manager like `TensorBoardMonitor`."""

    def __init__(self, files: TensorBoardMonitor, config: TrainConfig, on_note: Callable[[str], None]) -> None:
        """Begins the runs of `run.loggers`.

        Args:
            files: Of the run.
            config: The run.
            on_note: Told which logger fails.
        """
        self._files: Monitor = files
        self._context, self._config, self._on_note = files, config, on_note
        self._loggers: dict[str, Logger] = {}
        self._points: list[tuple[int, dict[str, float]]] = []

    def __enter__(self) -> LoggingMonitor:
        self._context.__enter__()
        for name in self._config.run.loggers:
            self._try(name, lambda name=name: self._loggers.update({name: LOGGERS[name](self._config)}))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # What came after the last flush is covered by no checkpoint: a run that goes on tells it again.
        self._each(lambda logger: logger.close(kind is not None))
        self._context.__exit__(kind, error, at)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers; loggers get them at the next flush, without the digits that order TensorBoard's groups."""
        self._files.scalars(values, step)
        named = {re.sub(r"^\d_", "", tag): value for tag, value in values.items() if math.isfinite(value)}
        self._points.append((step, named))

    def histogram(self, tag: str, counts: NDArray[np.int64], edges: NDArray[np.float64], step: int) -> None:
        """Writes to the files alone, as all else that is no number."""
        self._files.histogram(tag, counts, edges, step)

    def image(self, tag: str, picture: NDArray[np.uint8], step: int) -> None:
        self._files.image(tag, picture, step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        self._files.text(tag, markdown, step)

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int) -> None:
        self._files.hparams(config, metrics, step)

    def flush(self) -> None:
        """Hands everything over."""
        self._files.flush()
        points, self._points = self._points, []
        self._each(lambda logger: logger.send(points))

    def _each(self, act: Callable[[Logger], None]) -> None:
        for name, logger in list(self._loggers.items()):
            self._try(name, lambda logger=logger: act(logger))

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._loggers.pop(name, None)
            self._on_note(f"{name} fails ({type(error).__name__}: {error}); the run goes on without it")


def _name(config: TrainConfig) -> str:
    """The last two parts of the run's directory, such as `feed/seed-0`."""
    return "/".join(config.run.dir.rstrip("/").split("/")[-2:])
