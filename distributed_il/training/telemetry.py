"""What a run tells while it trains: sums over steps and ranks, on their way to TensorBoard and the progress line."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.collectives import Collectives, sum_over_ranks
from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.process import KINDS, resident_bytes
from distributed_il.core.progress import Progress
from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.methods.losses import inverse_dual_weights
from distributed_il.methods.steps.decision import Decision, StepReport
from distributed_il.models.learner import Learner
from distributed_il.training.monitor import DecisionHistory, WeightHistogram
from distributed_il.training.monitor.curves import TRAIN, candidate_curves
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.run_state import RankRequests

PROGRESS_EVERY_S = 0.5
_LARGE_LOSS = 1e3
"""Mean loss of a row, in nats, that no model reaches that learns: one of chance has 0.7."""


class Telemetry:
    """Collects step reports and, at each flush, turns them into numbers that every rank agrees on.

    Attributes:
        decisions: Every decision of the run so far.
        first_weights: w1 of unlabelled pairs in the first round that had any, over all ranks.
        weights: The same for the current round.
        pairs: Unlabelled pairs of the run so far over all ranks: drawn, fallback pairs among them, undrawable.
        round_loss: Sum of training losses of the round, and rows, over all ranks.
        rows_per_s: Labelled rows per second over all ranks, since the last flush.
        best: Validation metric of the best round so far; None before the first.
        trained: Of this process's passes: seconds, rows of all ranks, mean seconds that ranks waited for data and spent
            in collectives.
        pass_memory: Most resident bytes of each of `KINDS` that a report within a pass has found on this rank.
    """

    def __init__(
        self,
        config: TrainConfig,
        learner: Learner,
        collectives: Collectives,
        hooks: RunHooks,
    ) -> None:
        self._config, self._learner, self._collectives = config, learner, collectives
        self._hooks = hooks
        self.decisions = DecisionHistory()
        self.first_weights, self.weights = WeightHistogram(), WeightHistogram()
        self.pairs = np.zeros(3, dtype=np.int64)
        self._pairs = np.zeros(3, dtype=np.int64)
        self.round_loss = np.zeros(2)
        self.rows_per_s = 0.0
        self.trained = np.zeros(4)
        self.pass_memory = np.zeros(len(KINDS), dtype=np.int64)
        self.best: float | None = None
        self._logits: list[Tensor] = []
        self._loss = torch.zeros((), dtype=torch.float64, device=learner.device)
        self._rows = 0
        self._candidates: list[Decision] = []
        self._waited_s = 0.0
        self._mark = time.perf_counter()
        self._collective_mark = collectives.seconds
        self._bytes_mark = collectives.sent_bytes
        self._told = 0.0
        self._warned = False

    def start_pass(self) -> None:
        """Leaves the time between passes out of the rates."""
        self._mark = time.perf_counter()
        self._waited_s = 0.0
        self._collective_mark, self._bytes_mark = self._collectives.seconds, self._collectives.sent_bytes

    def start_round(self) -> None:
        """Begins the sums of a round."""
        self.weights = WeightHistogram()
        self.round_loss = np.zeros(2)

    def add(self, batch: Batch, report: StepReport) -> None:
        """Takes in one step."""
        if batch.unlabelled is not None:
            drawn = batch.unlabelled
            self._pairs += (drawn.user_ids.numel(), drawn.fallback_pairs, drawn.undrawable)
        self._loss += report.loss_sum
        self._rows += report.rows
        if report.unlabelled_logits is not None:
            self._logits.append(report.unlabelled_logits)
        if report.decision is not None:
            self.decisions.append(self._learner.step, report.decision.choice, report.decision.losses)
            self._candidates.append(report.decision)

    def flush(self, phase: Phase, *, waited_s: float, requests: RankRequests) -> RankRequests:
        """Sums over ranks what came since the last flush and writes it down; returns what all ranks are to do.

        All ranks call it at the same step. `waited_s` are the seconds that this rank has waited for data in this pass.

        Raises:
            UserError: The training loss is not finite; on every rank.
        """
        elapsed = max(time.perf_counter() - self._mark, 1e-9)
        local = [
            float(self._loss),
            self._rows,
            (waited_s - self._waited_s) / elapsed,
            (self._collectives.seconds - self._collective_mark) / elapsed,
            self._collectives.sent_bytes - self._bytes_mark,
            *self._pairs.tolist(),
            *requests,
            *self._weight_counts().tolist(),
        ]
        vector = torch.tensor(local, dtype=torch.float64).to(self._learner.device)
        total = sum_over_ranks(self._collectives, vector).numpy()
        self._absorb(total)
        world = self._collectives.world_size
        self.rows_per_s = float(total[1]) / elapsed
        self.trained += (elapsed, total[1], total[2] / world * elapsed, total[3] / world * elapsed)
        loss = float(total[0] / total[1]) if total[1] else math.nan
        if total[1] and not math.isfinite(loss):
            raise UserError(
                f"the training loss is {loss} at optimiser step {self._learner.step}: training has diverged; lower "
                "optimizer.learning_rate (γ), or look for damaged values in the model"
            )
        if loss > _LARGE_LOSS and self._collectives.rank == 0 and not self._warned:
            self._warned = True
            self._hooks.on_note(
                f"the training loss is {loss:.3g} at optimiser step {self._learner.step}: training has probably "
                "diverged; lower optimizer.learning_rate (γ)"
            )
        self.pass_memory = np.maximum(self.pass_memory, list(resident_bytes().values()))
        if not phase.trial:
            self._write(phase, loss, total[2:5] / world)
        self._reset(waited_s)
        return RankRequests.of_all(total[8:11])

    def tell(self, phase: Phase, *, round: int, step: int, steps: int, loss: float | None = None) -> None:
        """Moves the progress line, if it is time and this is rank 0."""
        now = time.perf_counter()
        if self._collectives.rank or now - self._told < PROGRESS_EVERY_S:
            return
        self._told = now
        rows_left = (steps - step) * self._config.run.global_batch_size
        shares = self.decisions.shares()
        self._hooks.on_progress(
            Progress(
                round=round + 1,
                max_rounds=self._config.run.max_rounds,
                phase=phase.name,
                step=step,
                steps=steps,
                rows_per_s=self.rows_per_s,
                loss=loss if loss is not None else self._round_mean(),
                decisions=(shares["direct"], shares["skip"], shares["inverse"]) if self.decisions.total else None,
                eta_s=rows_left / self.rows_per_s if self.rows_per_s else math.nan,
                best=self.best,
            )
        )

    def throughput(self) -> dict[str, Any]:
        """Speed of this process's passes, and the memory of each rank; all ranks call it together.

        `peak_memory_bytes` is the whole process's largest, everything counted; `pass_memory_bytes` is what the reports
        of the passes have found, by kind.
        """
        seconds, rows, waited_s, collectives_s = (float(value) for value in self.trained)
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        own = torch.tensor([peak_bytes, *self.pass_memory.tolist()], device=self._learner.device)
        peaks, *in_passes = self._collectives.all_gather(own).T.tolist()
        return {
            "rows": int(rows),
            "seconds": seconds,
            "rows_per_s": rows / seconds if seconds else 0.0,
            "data_wait_share": waited_s / seconds if seconds else 0.0,
            "collectives_share": collectives_s / seconds if seconds else 0.0,
            "peak_memory_bytes": peaks,
            "pass_memory_bytes": dict(zip(KINDS, in_passes, strict=True)),
        }

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """What a checkpoint keeps of this: JSON values and arrays, the same on every rank after a flush."""
        facts = {"pairs": self.pairs.tolist(), "round_loss": self.round_loss.tolist()}
        arrays = {f"decisions.{name}": np.asarray(value) for name, value in self.decisions.state().items()}
        arrays |= {"first_weights": self.first_weights.counts, "weights": self.weights.counts}
        return facts, arrays

    def restore(self, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Goes on from a checkpoint."""
        self.pairs = np.array(facts["pairs"], dtype=np.int64)
        self.round_loss = np.array(facts["round_loss"], dtype=np.float64)
        prefix = "decisions."
        self.decisions = DecisionHistory.from_state(
            {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
        )
        self.first_weights = WeightHistogram(np.asarray(arrays["first_weights"], dtype=np.int64))
        self.weights = WeightHistogram(np.asarray(arrays["weights"], dtype=np.int64))

    def _weight_counts(self) -> NDArray[np.int64]:
        histogram = WeightHistogram()
        if self._logits:
            histogram.add(inverse_dual_weights(torch.cat(self._logits))[0].cpu().numpy())
        return histogram.counts

    def _absorb(self, total: NDArray[np.float64]) -> None:
        self.round_loss += total[:2]
        self.pairs += total[5:8].astype(np.int64)
        self.weights.counts += total[11:].astype(np.int64)

    def _write(self, phase: Phase, loss: float, shares: NDArray[np.float64]) -> None:
        values = {f"{TRAIN}/loss_{phase.name}": loss}
        values["throughput/rows_per_s"] = self.rows_per_s
        values["throughput/data_wait_share"] = float(shares[0])
        values["throughput/collectives_share"] = float(shares[1])
        values["throughput/sent_bytes"] = float(shares[2])
        if self._candidates:
            values |= candidate_curves(self._candidates)
            values |= {f"decisions/{name}": share for name, share in self.decisions.shares().items()}
        self._hooks.monitor.scalars(values, self._learner.step)

    def _reset(self, waited_s: float) -> None:
        self._loss.zero_()
        self._rows = 0
        self._logits.clear()
        self._candidates.clear()
        self._pairs[:] = 0
        self._mark = time.perf_counter()
        self._waited_s = waited_s
        self._collective_mark, self._bytes_mark = self._collectives.seconds, self._collectives.sent_bytes

    def _round_mean(self) -> float:
        return float(self.round_loss[0] / self.round_loss[1]) if self.round_loss[1] else math.nan
