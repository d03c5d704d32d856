"""A split read, scored and measured: every row exactly once, at the rank that has its user, from a file there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.collectives import Collectives, FirstError, records_of, send_to_owners, sum_over_ranks
from distributed_il.core.errors import UserError
from distributed_il.core.record_file import RecordFile
from distributed_il.data.dataset import BlockReader, Dataset
from distributed_il.data.lanes import lanes_of_rank
from distributed_il.evaluation.affine_calibration import fit_affine
from distributed_il.evaluation.baselines import user_item_bias
from distributed_il.evaluation.distributed_metrics import ScoredRows, compute_metrics_over_ranks
from distributed_il.evaluation.output import Output
from distributed_il.methods.losses import log_loss
from distributed_il.models.learner import Learner

COLUMNS = ("user_id", "item_id", "label")
ROW = np.dtype([("user_id", np.int32), ("item_id", np.int32), ("label", np.int8)])
CHUNK_ROWS = 16_384
"""Rows that are scored together."""
PIECE_ROWS = 16 * CHUNK_ROWS
"""Rows of a rank that are read, scored and sent on before the next ones."""
PART_ROWS = 65_536
"""Rows of a rank that are ranked together, about: half a kilobyte each while they are."""
MOST_PARTS = 1024
"""Parts of a split at the most; of more than 1,024 · 65,536 rows each part has more."""
Predict = Callable[[NDArray[Any]], ScoredRows]
"""From records with `user_id`, `item_id` and `label` to scored rows."""


class SplitReader:
    """A rank's rows of one split.

    Attributes:
        split: Its name.
        sizes: Most rows that any rank has of each piece, the same on every rank; of a split without rows, one of 0.
    """

    def __init__(self, dataset: Dataset, reader: BlockReader, split: str, *, rank: int, world_size: int) -> None:
        most = math.ceil(dataset.rows(split) / world_size)
        self.split = split
        self.sizes = [min(most - start, PIECE_ROWS) for start in range(0, max(most, 1), PIECE_ROWS)]
        self._reader = reader
        lanes = lanes_of_rank(dataset.lanes, rank, world_size)
        self._blocks = [block for lane in lanes for block in dataset.blocks(split, lane)]
        self._kept: RecordFile | None = None

    def pieces(self) -> Iterator[NDArray[Any]]:
        """Yields the rank's rows as arrays of `ROW`: as many pieces as `sizes`, the last may have fewer rows or none.

        The first reading keeps them in a local file, the others take them from there.
        """
        if self._kept is not None:
            rows = self._kept.records()
            for number in range(len(self.sizes)):
                yield rows[number * PIECE_ROWS : (number + 1) * PIECE_ROWS]
            return
        kept: RecordFile | None = RecordFile(ROW, f"the rows of the {self.split} split")
        for piece in self._read():
            try:
                if kept is not None:
                    kept.append(piece)
            except UserError:
                kept = None  # without room for the file the blocks are read again
            yield piece
        self._kept = kept

    def _read(self) -> Iterator[NDArray[Any]]:
        """Yields the rows in pieces of `PIECE_ROWS`, however long the blocks are."""
        left = total = sum(block.rows for block in self._blocks)
        piece, filled = np.empty(min(left, PIECE_ROWS), ROW), 0
        for columns in self._reader.read(self._blocks, COLUMNS):
            start, rows = 0, columns["label"].size
            while start < rows:
                taken = min(rows - start, piece.size - filled)
                for name in COLUMNS:
                    piece[name][filled : filled + taken] = columns[name][start : start + taken]
                start, filled = start + taken, filled + taken
                if filled == piece.size:
                    yield piece
                    left -= filled
                    piece, filled = np.empty(min(left, PIECE_ROWS), ROW), 0
        if math.ceil(total / PIECE_ROWS) < len(self.sizes):
            yield piece  # another rank has one row more


class UserParts(Sequence[NDArray[Any]]):
    """Records with a `user_id`, in a local file; user u lies in part (u // world_size) mod parts with all its rows."""

    def __init__(self, parts: int, world_size: int) -> None:
        self._parts, self._world_size = parts, world_size
        self._file: RecordFile | None = None
        self._bounds: list[NDArray[np.int64]] = []

    def add(self, records: NDArray[Any]) -> None:
        """Puts rows, a structured array [n] of one dtype in every call, with those of their users.

        Raises:
            UserError: The disk is full.
        """
        if self._file is None:
            self._file = RecordFile(records.dtype, "the scored rows of a split")
        # 16 bits, because numpy sorts these by radix.
        part = (records["user_id"] // self._world_size % self._parts).astype(np.uint16)
        counts = np.bincount(part, minlength=self._parts)
        start = self._file.size
        self._file.append(records[np.argsort(part, kind="stable")])
        self._bounds.append(start + np.append(0, np.cumsum(counts)))

    def __len__(self) -> int:
        """Returns how many parts there are."""
        return self._parts

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | Sequence[NDArray[Any]]:
        """Returns a part's rows, in the order in which they were added."""
        if isinstance(index, slice):
            return [self[part] for part in range(self._parts)[index]]
        part = range(self._parts)[index]
        if self._file is None:
            raise ValueError("no rows were added")
        return np.concatenate([*self._slices(self._file.records(), part)])

    def _slices(self, records: NDArray[Any], part: int) -> Iterator[NDArray[Any]]:
        for bounds in self._bounds:
            yield records[bounds[part] : bounds[part + 1]]


@dataclass(frozen=True, eq=False, slots=True)
class SplitScores:
    """The scored rows of the users that a rank measures: user u belongs to rank u mod world_size."""

    # records of `ROW` and a `logit` of the model's dtype; each part has all rows of some users
    parts: Sequence[NDArray[Any]]
    _collectives: Collectives
    _device: torch.device

    def fit(self, half_width: float | None = None) -> Output:
        """Fits a and b to the served logits of the rows of all ranks, which call it together; see `Output`."""
        served = Output(half_width)
        calibration = fit_affine(
            lambda: ((_float64(served.served(_logits(part))), part["label"].astype(np.float64)) for part in self.parts),
            lambda sums: sum_over_ranks(self._collectives, torch.from_numpy(sums).to(self._device)).numpy(),
        )
        return Output(half_width, calibration)

    def metrics(self, output: Output, answered: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> dict[str, Any]:
        """Computes every metric of `compute_metrics` over the rows of all ranks, which call it together.

        Args:
            output: What is made of logits.
            answered: Of some records of `parts` those with the logits that are served; None for the model's own.
        """
        return self._evaluate(lambda rows: model_scores(rows if answered is None else answered(rows), output))

    def baseline_metrics(self, dataset: Dataset) -> dict[str, dict[str, Any]]:
        """Computes the two baselines' metrics on the same rows, fitted on the training rows; likewise together."""
        return {name: self._evaluate(predict) for name, predict in baseline_predictors(dataset).items()}

    def _evaluate(self, columns: Predict) -> dict[str, Any]:
        return compute_metrics_over_ranks(self.parts, columns, collectives=self._collectives, device=self._device)


def model_scores(rows: NDArray[Any], output: Output) -> ScoredRows:
    """Returns what the model makes of some rows of `SplitScores.parts`: ranked by the raw logit."""
    logits = _logits(rows)
    served = None if output.half_width is None else _float64(output.served(logits))
    calibrated = _float64(output.calibrated(logits))
    return ScoredRows(rows["user_id"], rows["logit"], rows["label"], served=served, calibrated=calibrated)


def baseline_predictors(dataset: Dataset) -> dict[str, Predict]:
    """Fits the two baselines on the training rows."""
    seen = dataset.activity()
    bias, mean = user_item_bias(
        seen.user_rows, seen.user_positives, seen.item_rows, seen.item_positives, dataset.observed()
    )

    def item_mean(rows: NDArray[Any]) -> ScoredRows:
        item = mean[rows["item_id"]]
        return ScoredRows(rows["user_id"], item, rows["label"], item)

    def both(rows: NDArray[Any]) -> ScoredRows:
        score = bias[rows["user_id"]] + mean[rows["item_id"]]
        return ScoredRows(rows["user_id"], score, rows["label"], np.clip(score, 1e-6, 1 - 1e-6))

    return {"item_mean": item_mean, "user_item_bias": both}


def _logits(rows: NDArray[Any]) -> Tensor:
    return torch.from_numpy(rows["logit"].copy())  # side by side


def _float64(values: Tensor) -> NDArray[np.float64]:
    return values.double().numpy()


def score_split(learner: Learner, split: SplitReader, collectives: Collectives) -> SplitScores:
    """Scores every row of a split once and sends it to the rank that measures its user; returns what arrives here.

    All ranks call it together, and each calls `learner.score` equally often, some with no rows at the end.

    Raises:
        UserError: A score or the mean loss is not finite, on every rank; or this rank's disk is full.
        RuntimeError: Another rank's disk is full.
    """
    total = np.zeros(3)
    world, problem = collectives.world_size, FirstError()
    parts = UserParts(min(max(1, math.ceil(sum(split.sizes) / PART_ROWS)), MOST_PARTS), world)
    for size, piece in zip(split.sizes, split.pieces(), strict=True):
        # Even without any rows one call tells the dtype.
        scored = _score(learner, piece, max(1, math.ceil(size / CHUNK_ROWS)))
        total += _loss_sums(scored, piece["label"])
        rows = records_of({**{name: piece[name] for name in COLUMNS}, "logit": scored.numpy()})
        arrived = send_to_owners(rows, piece["user_id"] % world, collectives=collectives, device=learner.device)
        with problem.kept():
            parts.add(arrived)
    problem.raise_together(f"the {split.split} split could not be kept", collectives, learner.device)
    _check_loss(split.split, total, collectives, learner.device)
    return SplitScores(parts, collectives, learner.device)


def _score(learner: Learner, piece: NDArray[Any], chunks: int) -> Tensor:
    """Logits of a piece, [rows], on the CPU."""
    logits: list[Tensor] = []
    for start in range(0, chunks * CHUNK_ROWS, CHUNK_ROWS):
        rows = piece[start : start + CHUNK_ROWS]
        users, items = (
            torch.from_numpy(rows[name].astype(np.int64)).to(learner.device) for name in ("user_id", "item_id")
        )
        logits.append(learner.score(users, items).cpu())
    return torch.cat(logits)


def _loss_sums(logits: Tensor, labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """Sum of log losses, rows, and scores that are not finite: one of them may cost nothing."""
    losses = log_loss(logits.to(torch.float64), torch.from_numpy(labels.astype(np.float64)))
    return np.array([float(losses.sum()), labels.size, int((~torch.isfinite(logits)).sum())])


def _check_loss(split: str, own: NDArray[np.float64], collectives: Collectives, device: torch.device) -> None:
    loss_sum, rows, unusable = sum_over_ranks(collectives, torch.from_numpy(own).to(device)).tolist()
    loss = loss_sum / rows if rows else math.nan
    if rows and (unusable or not math.isfinite(loss)):
        raise UserError(
            f"the {split} loss is {loss}, {int(unusable)} of {int(rows)} scores are not finite: training has diverged; "
            "lower optimizer.learning_rate (γ), or look for damaged values in the model"
        )
