"""AUC over rows that lie on many ranks: counted in integers, and no rank sees more than its share of the scores.

The ranks agree on borders that cut the scores into one range for each of them. Every rank counts the classes at each of
its scores and sends the counts to the rank of their range, so equal scores meet, and there are never more of them than
ranks have sent. That rank merges its range; what lies in lower ranges enters through one number of each rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.collectives import Collectives
from distributed_il.metrics import class_counts, half_pairs
from distributed_il.record_exchange import records_of, send_slices

# Of each rank on average: a range then holds its share of the rows within about 1/√256 = 6 %.
SAMPLES_OF_RANK = 256


class ScoreRanges:
    """One range of scores for each rank, and the class counts that have arrived in this rank's."""

    def __init__(
        self, scores: NDArray[Any], rows: Sequence[int], *, collectives: Collectives, device: torch.device
    ) -> None:
        """Agrees on the borders, from a sample of rows; all ranks call it together.

        Args:
            scores: float [n], this rank's, of one dtype on all ranks.
            rows: n of each rank.
            collectives: The ranks.
            device: Where collectives work.
        """
        self._collectives, self._device = collectives, device
        world = collectives.world_size
        stride = max(1, sum(rows) // (SAMPLES_OF_RANK * world))
        sample = torch.from_numpy(scores[stride // 2 :: stride].copy()).to(device)
        sizes = [len(range(stride // 2, of_rank, stride)) for of_rank in rows]
        samples = torch.cat(collectives.all_to_all([sample] * world, sizes)).sort().values.cpu().numpy()
        cuts = np.arange(1, world) * samples.size // world
        self._borders = samples[cuts] if samples.size else np.zeros(world - 1, scores.dtype)
        self._arrived: list[NDArray[Any]] = []

    def add(self, scores: NDArray[Any], ranks: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        """Counts some rows and sends the counts to their ranges; all ranks call it together.

        Args:
            scores: float [m].
            ranks: int64 [m], `descending_ranks` of the scores.
            labels: int64 [m], each 0 or 1.
        """
        negatives, positives = class_counts(ranks, labels)
        distinct = np.empty(int(ranks.max(initial=-1)) + 1, scores.dtype)
        distinct[ranks] = scores
        counts = {"negatives": negatives.astype(np.int32), "positives": positives.astype(np.int32)}
        # Ascending, and of no rows there are no counts.
        ascending = {name: values[: distinct.size][::-1] for name, values in {"score": distinct, **counts}.items()}
        borders = np.concatenate(([0], np.searchsorted(ascending["score"], self._borders), [distinct.size]))
        records = records_of(ascending)
        self._arrived.append(send_slices(records, borders, collectives=self._collectives, device=self._device))

    def auc(self) -> float:
        """AUC of all rows that were added; all ranks call it together.

        Returns:
            A number in [0, 1], the same bits on every rank: exact up to the rounding of one division. NaN where all
            rows are of one class.
        """
        negatives, positives = self._merged()
        # Twice the pairs may be too many for 64 bits: they travel in two parts.
        own = [int(negatives.sum()), int(positives.sum()), *divmod(half_pairs(negatives, positives), 2**32)]
        halves, below, above = 0, 0, 0
        for of_range in self._collectives.all_gather(torch.tensor(own, device=self._device)).tolist():
            range_negatives, range_positives, high, low = of_range
            halves += (high << 32) + low + 2 * range_positives * below
            below, above = below + range_negatives, above + range_positives
        pairs = below * above
        return halves / (2 * pairs) if pairs else float("nan")

    def _merged(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Negatives and positives at each distinct score of this rank's range, from the highest score down."""
        records = np.concatenate(self._arrived)
        self._arrived = [records]
        # Stable, because that merges the runs that have arrived in order.
        records = records[np.argsort(records["score"], kind="stable")]
        starts = np.flatnonzero(np.append(True, records["score"][1:] != records["score"][:-1])[: records.size])
        negatives, positives = (
            np.add.reduceat(records[name], starts, dtype=np.int64)[::-1] if starts.size else starts
            for name in ("negatives", "positives")
        )
        return negatives, positives
