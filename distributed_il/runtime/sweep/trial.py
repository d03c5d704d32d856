"""One trial: an ordinary run in one process that reports the validation metric of each round to Ray Tune."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from ray import tune

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import write_run_file
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation.selection import Selection
from distributed_il.runtime.worker import run_monitor
from distributed_il.training.monitor import Monitor
from distributed_il.training.run_claim import RunClaim, TakenOver
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Trainer

_log = logging.getLogger(__name__)
FAILED = "failed.txt"
"""Why a trial ended without a model, in its directory."""
VALUE, ROUND = "valid_value", "round"


def run_trial(config: TrainConfig, claim: RunClaim) -> None:
    """Runs within Ray Tune, with one worker, until its own stop rule or Tune ends it, always after a checkpoint.

    Rounds that an earlier attempt has in its checkpoint are reported first, so that the scheduler of a resumed sweep
    knows them; then the run resumes. `claim` is the sweep's.
    """
    try:
        with run_monitor(config, _warn) as monitor:
            selection = Selection(config.run.select_by)

            def report(entry: dict[str, Any]) -> None:
                # Where Tune wants the trial to end, this does not return.
                tune.report({ROUND: entry["round"], VALUE: selection.value(entry)})

            trainer = _trainer(config, monitor, claim, on_round=report)
            for entry in trainer.state.history:
                report(entry)
            trainer.fit()
    except TakenOver:  # then the sweep has lost all its trials
        raise
    except UserError as error:  # such as a learning rate at which training diverges: no reason to end the sweep
        write_run_file(config.run.dir, FAILED, str(error))
    except Exception as error:  # such as odd settings bring to light; another attempt would fail too
        write_run_file(config.run.dir, FAILED, f"{type(error).__name__}: {error}")


def finish_run(config: TrainConfig, claim: RunClaim) -> dict[str, Any]:
    """Trains a trial to its end where Tune had stopped it early, tests it, and returns what metrics.json holds."""
    with run_monitor(config, _warn) as monitor:
        return _trainer(config, monitor, claim, on_round=lambda entry: None).run()


def _warn(text: str) -> None:
    _log.warning(text)


def _trainer(
    config: TrainConfig, monitor: Monitor, claim: RunClaim, on_round: Callable[[dict[str, Any]], None]
) -> Trainer:
    torch.set_num_threads(config.run.threads_per_worker)
    dataset = Dataset.open(config.data.path)
    return Trainer(
        config,
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=LocalCollectives(),
        device=torch.device("cuda" if config.run.use_gpu else "cpu"),
        hooks=RunHooks(monitor=monitor, on_round=on_round, check_claim=claim.check),
    )
