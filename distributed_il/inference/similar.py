"""The rows of a table most like given ones, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS_AT_ONCE = 512
"""Similarities of so many rows to all others lie in memory together."""


@torch.no_grad()
def most_similar(table: NDArray[Any], rows: NDArray[np.int64], *, top: int) -> tuple[Tensor, Tensor]:
    """Finds the rows of highest cosine with each given one, itself left out; of equal ones those of lower number.

    cos(a, b) = ⟨a, b⟩ / (‖a‖·‖b‖), 0 where a row is 0.

    Args:
        table: Rows, float [n, dim].
        rows: Numbers of those that are asked for, int64 [q].
        top: How many of each; at most n − 1 are found.

    Returns:
        Numbers of rows, int64 [q, top], and their cosines, [q, top], best first.
    """
    whole = torch.nn.functional.normalize(torch.from_numpy(np.asarray(table)), dim=1)
    top = min(top, len(whole) - 1)
    numbers = [torch.zeros((0, top), dtype=torch.int64)]
    cosines = [whole.new_zeros((0, top))]
    for start in range(0, rows.size, ROWS_AT_ONCE):
        own = torch.from_numpy(rows[start : start + ROWS_AT_ONCE])
        found = whole[own] @ whole.T
        found[torch.arange(len(own)), own] = -torch.inf
        values, order = found.sort(dim=1, descending=True, stable=True)
        numbers.append(order[:, :top])
        cosines.append(values[:, :top])
    return torch.cat(numbers), torch.cat(cosines)
