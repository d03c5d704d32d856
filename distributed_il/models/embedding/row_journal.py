"""What changed rows of one table were."""

from __future__ import annotations

import torch
from torch import Tensor

RECORD_BYTES = 8 + 4
"""Beside its content a recorded row takes its number and its `last_step`."""


class RowJournal:
    """Copies of a table's rows as they were before they were first changed, by row: its size is theirs."""

    def __init__(self, packed: Tensor, last_step: Tensor) -> None:
        """Begins with no row recorded.

        Args:
            packed: All rows of the table, [num_rows, 3·dim].
            last_step: Step to which each is brought up to date, int32 [num_rows].
        """
        self._packed, self._last_step = packed, last_step
        self._recorded = torch.zeros(len(packed), dtype=torch.bool, device=packed.device)
        self._records: list[tuple[Tensor, Tensor, Tensor]] = []

    def record(self, ids: Tensor) -> None:
        """Copies those rows that were not copied before; distinct row numbers, int64 [U]."""
        new = ids[~self._recorded.index_select(0, ids)]
        if new.numel():
            self._recorded.index_fill_(0, new, True)
            rows = self._packed.index_select(0, new), self._last_step.index_select(0, new)
            self._records.append((new, *rows))

    def roll_back(self) -> None:
        """Writes all copies back; they stay recorded."""
        for ids, packed, last_step in self._records:
            self._packed.index_copy_(0, ids, packed)
            self._last_step.index_copy_(0, ids, last_step)
