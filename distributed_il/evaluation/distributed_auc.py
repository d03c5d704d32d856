"""AUC over rows that lie on many ranks: counted in integers, and no rank sees more than its share of the scores.

The ranks agree on borders that cut the scores into one range for each of them. Every rank counts the classes at each of
its scores and sends the counts to the rank of their range, so equal scores meet, and there are never more of them than
ranks have sent. That rank merges its range, some of its scores at a time; what lies in lower ranges enters through one
number of each rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import Collectives, FirstError, records_of, send_slices
from distributed_il.core.record_file import RecordFile
from distributed_il.evaluation.metrics import class_counts, half_pairs

# Of each rank on average: a range then holds its share of the rows within about 1/√256 = 6 %.
SAMPLES_OF_RANK = 256
MERGED_RECORDS = 262_144
"""Counts that are merged together, about."""


class ScoreRanges:
    """One range of scores for each rank, and the class counts that have arrived in this rank's, in a local file."""

    def __init__(
        self, scores: NDArray[Any], rows: Sequence[int], *, collectives: Collectives, device: torch.device
    ) -> None:
        """Agrees on the borders, from a sample of rows; all ranks call it together.

        `scores` are this rank's, float [n] of one dtype on all ranks; `rows` has n of each rank.
        """
        self._collectives, self._device = collectives, device
        world = collectives.world_size
        stride = max(1, sum(rows) // (SAMPLES_OF_RANK * world))
        sample = torch.from_numpy(scores[stride // 2 :: stride].copy()).to(device)
        sizes = [len(range(stride // 2, of_rank, stride)) for of_rank in rows]
        samples = torch.cat(collectives.all_to_all([sample] * world, sizes)).sort().values.cpu().numpy()
        cuts = np.arange(1, world) * samples.size // world
        self._borders = samples[cuts] if samples.size else np.zeros(world - 1, scores.dtype)
        self._arrived: RecordFile | None = None
        self._starts = [0]
        self._problem = FirstError()

    def add(self, scores: NDArray[Any], ranks: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        """Counts some rows and sends the counts to their ranges; all ranks call it together.

        Scores are float [m], their `descending_ranks` and labels, 0 or 1, int64 [m].
        """
        negatives, positives = class_counts(ranks, labels)
        distinct = np.empty(int(ranks.max(initial=-1)) + 1, scores.dtype)
        distinct[ranks] = scores
        counts = {"negatives": negatives.astype(np.int32), "positives": positives.astype(np.int32)}
        # Ascending, and of no rows there are no counts.
        ascending = {name: values[: distinct.size][::-1] for name, values in {"score": distinct, **counts}.items()}
        borders = np.concatenate(([0], np.searchsorted(ascending["score"], self._borders), [distinct.size]))
        records = records_of(ascending)
        self._keep(send_slices(records, borders, collectives=self._collectives, device=self._device))

    def auc(self) -> float:
        """AUC of all rows that were added; all ranks call it together.

        Returns:
            A number in [0, 1], the same bits on every rank: exact up to the rounding of one division. NaN where all
            rows are of one class.

        Raises:
            UserError: This rank's disk is full.
            RuntimeError: Another rank's is.
        """
        self._problem.raise_together("the AUC could not be counted", self._collectives, self._device)
        halves, below, above = 0, 0, 0
        for negatives, positives in self._merged():
            halves += half_pairs(negatives, positives) + 2 * int(positives.sum()) * below
            below, above = below + int(negatives.sum()), above + int(positives.sum())
        # Twice the pairs may be too many for 64 bits: they travel in two parts.
        own = [below, above, *divmod(halves, 2**32)]
        halves, below, above = 0, 0, 0
        for of_range in self._collectives.all_gather(torch.tensor(own, device=self._device)).tolist():
            range_negatives, range_positives, high, low = of_range
            halves += (high << 32) + low + 2 * range_positives * below
            below, above = below + range_negatives, above + range_positives
        pairs = below * above
        return halves / (2 * pairs) if pairs else float("nan")

    def _keep(self, records: NDArray[Any]) -> None:
        """Appends what has arrived, as a run of ascending scores."""
        with self._problem.kept():
            if self._arrived is None:
                self._arrived = RecordFile(records.dtype, "the class counts of the scores")
            # Of each sender they ascend, and a stable sort merges runs that are in order.
            self._arrived.append(records[np.argsort(records["score"], kind="stable")])
            self._starts.append(self._arrived.size)

    def _merged(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Negatives and positives at each distinct score, from the highest score of a piece down; pieces ascend."""
        if self._arrived is None or not self._arrived.size:
            return
        records = self._arrived.records()
        runs = [records[start:stop] for start, stop in pairwise(self._starts)]
        for slices in pairwise(_cuts(runs, MERGED_RECORDS)):
            piece = np.concatenate([run[low:high] for run, low, high in zip(runs, *slices, strict=True)])
            piece = piece[np.argsort(piece["score"], kind="stable")]
            starts = np.flatnonzero(np.append(True, piece["score"][1:] != piece["score"][:-1])[: piece.size])
            negatives, positives = (
                np.add.reduceat(piece[name], starts, dtype=np.int64)[::-1] if starts.size else starts
                for name in ("negatives", "positives")
            )
            yield negatives, positives


def _cuts(runs: Sequence[NDArray[Any]], size: int) -> list[list[int]]:
    """Cuts ascending runs so that equal scores stay together and the pieces have about `size` records or less.

    Returns places in all runs, cut after cut: the first are 0, the last the runs' lengths.
    """
    # Between two neighbours of a run's sample lie fewer than `stride` records, so that a piece is `size` give or take
    # one stride of each run.
    stride = max(1, size // (4 * len(runs)))
    sample = np.sort(np.concatenate([run["score"][stride - 1 :: stride] for run in runs]))
    every = max(1, size // stride)
    borders = np.unique(sample[every::every])
    inner = np.stack([np.searchsorted(run["score"], borders) for run in runs], axis=1).tolist()
    return [[0] * len(runs), *inner, [len(run) for run in runs]]
