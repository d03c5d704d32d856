"""A run: rounds of passes, validation, the stop rule, checkpoints, and the final metrics."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import TrainConfig, config_to_dict
from distributed_il.core.prefetch import Prefetcher
from distributed_il.data.dataset import BlockReader, Dataset
from distributed_il.data.lanes import Schedule
from distributed_il.data.loading.batch import Batch, Phase, with_global_weights
from distributed_il.evaluation.affine_calibration import AffineCalibration
from distributed_il.evaluation.calibrated_loss import calibrated_loss
from distributed_il.evaluation.output import Output
from distributed_il.methods import make_method
from distributed_il.methods.branches import Branch
from distributed_il.methods.protocol import branches_of, extras_of, half_width_of
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.training.branches import check_memory, keep_best_branch
from distributed_il.training.checkpoint import CheckpointStore, SavedState
from distributed_il.training.checkpoint_names import Name
from distributed_il.training.consistency import check_agreement, check_replicas
from distributed_il.training.exposure_factors import (
    about_factors,
    factors_for,
    factors_named_by,
    resolve_factors,
)
from distributed_il.training.feedback import resolve_feedback
from distributed_il.training.measurement import Measurement
from distributed_il.training.monitor.curves import TRAIN, VALID, metric_curves
from distributed_il.training.resume import about_run, check_best, check_same_run
from distributed_il.training.round_line import round_line
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.run_outputs import run_environment, run_facts, write_beginning, write_end, write_weights
from distributed_il.training.run_state import (
    CheckpointSchedule,
    Leaving,
    RankRequests,
    RunState,
    Stopped,
    read_facts,
)
from distributed_il.training.side_features import features_for
from distributed_il.training.telemetry import Telemetry
from distributed_il.training.training_rows import training_rows
from distributed_il.training.warm_start import find_warm_start, start_warm

PREFETCHED_WINDOWS = 1
"""Besides the one that is being made."""
MOST_STEPS_BETWEEN_REPORTS = 100
REPORTS_PER_PASS = 20
NO_HOOKS = RunHooks()
NO_METRICS = ("round", "step", "train_loss", "branches")
"""Of a round's entry of the history."""


class Trainer:
    """One rank of a run. All ranks build it with the same arguments and call `run` together."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        *,
        reader: BlockReader,
        collectives: Collectives,
        device: torch.device,
        hooks: RunHooks = NO_HOOKS,
    ) -> None:
        """Builds the model, or loads it: from the run's last checkpoint, or for a warm start from that of another run.

        Raises:
            UserError: A checkpoint belongs to other data or settings, or is damaged.
        """
        self.store = CheckpointStore(config.run.dir, hooks.check_claim)
        last = self.store.manifest("last")
        note = (NO_HOOKS if collectives.rank else hooks).on_note  # all ranks find the same
        config = _resolved(config, dataset, last, note)
        self.config, self.dataset, self.collectives, self.hooks = config, dataset, collectives, hooks
        self.method = make_method(config.method)
        self.branches = branches_of(self.method)
        self.learner = self._new_learner(device, factors_named_by(last))
        self.executor = StepExecutor(self.learner)
        if config.run.compile:
            self.executor.compile(hooks.on_note, batch_size=config.run.batch_size)
        self.rows = training_rows(config, dataset, reader=reader, method=self.method, learner=self.learner)
        self.measurement = Measurement(config, dataset, reader=reader, learner=self.learner, collectives=collectives)
        self.telemetry = Telemetry(config, self.learner, collectives, hooks)
        self.checkpoint_schedule = CheckpointSchedule(config.run)
        self.state, self.calibration = RunState(), AffineCalibration()
        self._ahead: Prefetcher[list[Batch]] | None = None
        self._save_later = False  # a save was requested while branches were tried
        self._resumed, self._start = self._resume()
        about_them, self._basis = about_factors(config.model, dataset, factors_named_by(last))
        self._fingerprints = {
            "configuration": json.dumps(config_to_dict(config), sort_keys=True),
            "dataset": dataset.fingerprint,
            "exposure factors": json.dumps(about_them, sort_keys=True),
        }
        self._about = {} if collectives.rank else about_run(config, dataset, self._start, about_them)

    def _new_learner(self, device: torch.device, factors: str | None) -> Learner:
        """Returns the model as it is drawn; `factors` is the fingerprint of its exposure factors, if it is known."""
        config, dataset = self.config, self.dataset
        return Learner(
            config.model,
            config.optimizer,
            num_users=dataset.num_users,
            num_items=dataset.num_items,
            seed=config.run.seed,
            collectives=self.collectives,
            device=device,
            features=features_for(config.model, dataset),
            factors=factors_for(config.model, dataset, factors, device=device),
            method_extras=extras_of(self.method),
        )

    def run(self) -> dict[str, Any]:
        """Trains until the stop rule, then tests the best round; returns what metrics.json holds, on rank 0.

        Raises:
            Stopped: The run was asked to stop.
            Leaving: These workers were asked to make place.
            UserError: A loss is not finite.
        """
        self.fit()
        return self._finish()

    def fit(self) -> dict[str, Any]:
        """Trains until the stop rule and leaves the test split unread, for a choice among settings.

        Returns:
            `valid`, the metrics of the best round, and `run`, as in metrics.json; on rank 0 only, elsewhere empty.

        Raises:
            Stopped, Leaving: As in `run`.
            UserError: A loss is not finite.
        """
        if self.collectives.rank == 0:
            self.hooks.check_claim()
            write_beginning(self.config, self.dataset, self.hooks.monitor, resumed=self._resumed)
            self.hooks.on_note(f"training begins: {self.learner.num_parameters:,} parameters")
        try:
            if not self.state.finished(self.config.run):
                # The first reading starts whatever it needs; the rates of the passes are without that.
                phase = self.method.phases[self.state.phase]
                self._ahead = self._reading(phase, round=self.state.round, step=self.state.step)
                self._ahead.wait()
            while not self.state.finished(self.config.run):
                self._round()
        finally:
            if self._ahead is not None:
                self._ahead.close()
        if self.collectives.rank:
            return {}
        best = self.state.history[self.state.best_round - 1]
        valid = {name: value for name, value in best.items() if name not in NO_METRICS}
        return {"valid": valid, "run": self._facts()}

    def _round(self) -> None:
        state, began, trained = self.state, time.perf_counter(), self.telemetry.trained.copy()
        if state.phase == 0 and state.step == 0:
            self.telemetry.start_round()
        while state.phase < len(self.method.phases):
            if state.phase == 0 and self.branches:
                self._try_branches()
            else:
                self._pass(self.method.phases[state.phase], self.method.step)
            state.phase, state.step = state.phase + 1, 0
        if state.round == 0:
            self.telemetry.first_weights = self.telemetry.weights
            write_weights(self.telemetry.weights, self.learner.step, self.hooks.monitor)
        if state.round + 1 < self.config.run.max_rounds:
            # What it takes to start reading is hidden behind the validation.
            self._ahead = self._reading(self.method.phases[0], round=state.round + 1)
        improved = self._validate()
        state.round, state.phase = state.round + 1, 0
        self._checkpoint(("last", "best") if improved else ("last",))
        self._tell_round(improved, seconds=time.perf_counter() - began, trained=self.telemetry.trained - trained)
        self.hooks.on_round(state.history[-1])

    def _tell_round(self, improved: bool, *, seconds: float, trained: NDArray[np.float64]) -> None:
        if self.collectives.rank == 0:
            line = round_line(
                self.state.history[-1],
                self.measurement.selection,
                max_rounds=self.config.run.max_rounds,
                best=improved,
                rows_per_s=trained[1] / trained[0] if trained[0] else 0.0,
                seconds=seconds,
            )
            self.hooks.on_note(line)

    def _try_branches(self) -> None:
        """Takes the first pass of a round in each of its ways and keeps the best.

        Until then the last checkpoint stays that of the round's start: what ends the run meanwhile, or asks it to save
        itself, finds the round to be begun anew.
        """
        state, telemetry = self.state, self.telemetry
        first, rate = self.branches[0].phase, self.config.unlabelled.rate
        check_memory(self.learner, most_touched=self.rows.schedule(first.subset).total * (1 + rate))
        if state.round == 0 and not self._resumed:
            self._checkpoint(("last",))
        told = telemetry.state()

        def take(branch: Branch) -> None:
            telemetry.restore(*told)  # of the branches only the one that is kept counts
            state.step = 0
            self._pass(branch.phase, branch.step)

        def judge() -> float:
            windows = self.rows.batches(Phase("training-test", "test", unlabelled=False), round=state.round)
            rows = chain.from_iterable(windows)
            return calibrated_loss(self.learner, rows, self.collectives, weighted=self.dataset.weighted)

        state.branches = keep_best_branch(self.learner, self.branches, take=take, judge=judge)
        chosen = next(branch for branch in self.branches if branch.name == state.branches["chosen"])
        values = {f"branches/{name}": loss for name, loss in state.branches["losses"].items()}
        self.hooks.monitor.scalars({**values, "branches/chosen_sign": chosen.sign}, self.learner.step)

    def _pass(self, phase: Phase, take_step: Callable[[StepExecutor, Batch], StepReport]) -> None:
        state, schedule = self.state, self.rows.schedule(phase.subset)
        report_every = min(MOST_STEPS_BETWEEN_REPORTS, max(1, schedule.steps // REPORTS_PER_PASS))
        # This also lets every rank start the pass together, whatever reading or validation took it.
        self._agree_on(schedule)
        self.telemetry.start_pass()
        reading, self._ahead = self._ahead or self._reading(phase, round=state.round, step=state.step), None
        with reading as ready:
            for window in ready:
                if self.dataset.weighted:
                    window = with_global_weights(window, self.collectives)
                self.learner.embeddings.prefetch_routes([plan for batch in window for plan in batch.plans])
                for batch in window:
                    self.telemetry.add(batch, take_step(self.executor, batch))
                    state.step += 1
                    self._after_step(phase, schedule, report_every, ready.waited_s)

    def _agree_on(self, schedule: Schedule) -> None:
        """Makes sure that all ranks are about to run the same pass."""
        state = self.state
        position = {"round": state.round, "pass": state.phase, "step of the pass": state.step}
        sizes = {"optimiser step": self.learner.step, "number of steps": schedule.steps, "rows": schedule.total}
        check_agreement(self.collectives, {**self._fingerprints, **position, **sizes}, self.learner.device)

    def _reading(self, phase: Phase, *, round: int, step: int = 0) -> Prefetcher[list[Batch]]:
        """Begins to make the windows of a pass from one of its steps on."""
        windows = self.rows.batches(phase, round=round, start_step=step)
        return Prefetcher(windows, depth=PREFETCHED_WINDOWS)

    def _after_step(self, phase: Phase, schedule: Schedule, report_every: int, waited_s: float) -> None:
        state = self.state
        save = self.checkpoint_schedule.falls_on(self.learner.step) and state.step < schedule.steps and not phase.trial
        if save or state.step % report_every == 0 or state.step == schedule.steps:
            requests = self.telemetry.flush(phase, waited_s=waited_s, requests=self._requests())
            if phase.trial:
                self._save_later |= requests.save
            elif save or any(requests):
                self._checkpoint(("last",))
            if requests.stop:
                raise Stopped
            if requests.leave:
                raise Leaving
        self.telemetry.tell(phase, round=state.round, step=state.step, steps=schedule.steps)

    def _requests(self) -> RankRequests:
        save = self._save_later or self.checkpoint_schedule.is_due() or self.hooks.should_save()
        return RankRequests(save=save, stop=self.hooks.should_stop(), leave=self.hooks.should_leave())

    def _validate(self) -> bool:
        """Measures the validation split; returns whether the round is the best so far.

        Raises:
            UserError: The metric that rounds are chosen by is not defined on these rows; on every rank.
        """
        self.learner.materialize()
        state = self.state
        metrics, output, value = self.measurement.of_round(self._half_width())
        self.calibration = output.calibration
        loss_sum, rows = (float(total) for total in self.telemetry.round_loss)
        train_loss = loss_sum / rows if rows else math.nan
        if self.collectives.rank == 0:
            values = {**metric_curves(VALID, metrics), f"{TRAIN}/loss_round": train_loss}
            self.hooks.monitor.scalars(values, self.learner.step)
        entry = {"round": state.round + 1, "step": self.learner.step, "train_loss": train_loss, **metrics}
        if state.branches is not None:
            entry, state.branches = {**entry, "branches": state.branches}, None
        state.history.append(entry)
        cost = self.measurement.selection.cost
        improved = state.best_value is None or cost(value) < cost(state.best_value)
        if improved:
            state.best_round, state.best_value = state.round + 1, value
        self.telemetry.best = state.best_value
        return improved

    def _finish(self) -> dict[str, Any]:
        """Tests the best round and writes the run's results."""
        best = self.store.manifest("best")
        if best is not None:
            read_facts(best)  # whole, before anything is compared
        best = check_best(best, self.state.history[: self.state.best_round], self.store.root)
        self.store.restore(best, self.learner)
        self.learner.materialize()
        measured = self.measurement.of_run(Output.from_dict(best.get("output")))
        facts = {**self._facts(), "throughput": self.telemetry.throughput(), "environment": run_environment()}
        result = {**measured, "run": facts}
        if self.collectives.rank:
            return {}
        self.hooks.check_claim()
        write_end(self.config, result, self.state.history, self.telemetry, self.hooks.monitor)
        return result

    def _facts(self) -> dict[str, Any]:
        names = [branch.name for branch in self.branches]
        return run_facts(self.config, self.dataset, self.state, self.telemetry, start=self._start, branches=names)

    def _checkpoint(self, names: tuple[Name, ...]) -> None:
        """Saves the run's state after making sure that all ranks hold the same model."""
        check_replicas(self.learner, self.collectives)
        # Before the checkpoint: what it covers will not be written again, so it must not be lost with this process.
        self.hooks.monitor.flush()
        facts, arrays = self.telemetry.state()
        saved = SavedState({"course": self.state.to_dict(), "telemetry": facts}, arrays | self._basis)
        output = Output(self._half_width(), self.calibration)
        about = {**self._about, "output": output.to_dict()}
        self.store.save(self.learner, saved, round=self.state.round, about=about, names=names)
        self.checkpoint_schedule.saved()
        self._save_later = False

    def _half_width(self) -> float | None:
        return half_width_of(self.method, self.learner.tower)

    def _resume(self) -> tuple[bool, dict[str, Any] | None]:
        """Restores the last checkpoint or starts warm; returns whether there was one, and a warm start's origin."""
        manifest = self.store.manifest("last")
        if manifest is None:
            other = self.config.run.start_from
            return False, None if other is None else start_warm(other, self.config, self.dataset, self.learner)
        check_same_run(self.config, self.dataset, manifest)
        saved = self.store.restore(manifest, self.learner)
        self.state, told = read_facts(manifest)
        self.calibration = Output.from_dict(manifest.get("output")).calibration
        self.telemetry.restore(told, saved.arrays)
        self.telemetry.best = self.state.best_value
        return True, manifest.get("start")


def _resolved(
    config: TrainConfig, dataset: Dataset, last: Mapping[str, Any] | None, note: Callable[[str], None]
) -> TrainConfig:
    """Returns the configuration with what it left to the dataset, or to the checkpoints that the run begins from."""
    config, origin = resolve_feedback(config, dataset), None
    if last is None and config.run.start_from is not None:
        origin = find_warm_start(config.run.start_from)[1]
    return resolve_factors(config, dataset, resumed=last, origin=origin, note=note)
