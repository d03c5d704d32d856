"""Rows as records that travel to the rank that needs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import Collectives


def records_of(columns: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Joins columns into packed records, so that one exchange carries them all.

    Args:
        columns: Arrays [n] by name.

    Returns:
        A structured array [n].
    """
    dtype = np.dtype([(name, values.dtype) for name, values in columns.items()])
    records = np.empty(next(iter(columns.values())).size, dtype)
    for name, values in columns.items():
        records[name] = values
    return records


def send_to_owners(
    records: NDArray[Any], owners: NDArray[Any], *, collectives: Collectives, device: torch.device
) -> NDArray[Any]:
    """Sends each record to its owner; all ranks call it together.

    Args:
        records: Structured array [n], of one dtype on all ranks.
        owners: Integers [n], the rank of each record.
        collectives: The ranks; up to 2**16 of them.
        device: Where collectives work.

    Returns:
        The records that this rank owns, by sender and, of one sender, in the order sent.
    """
    if collectives.world_size == 1:
        return records
    # 16 bits, because numpy sorts these by radix.
    order = np.argsort(owners.astype(np.uint16), kind="stable")
    borders = np.append(0, np.cumsum(np.bincount(owners, minlength=collectives.world_size)))
    return send_slices(records[order], borders, collectives=collectives, device=device)


def send_slices(
    records: NDArray[Any], borders: NDArray[np.int64], *, collectives: Collectives, device: torch.device
) -> NDArray[Any]:
    """Sends `records[borders[r] : borders[r + 1]]` to rank r; all ranks call it together.

    Args:
        records: Structured array [n], of one dtype on all ranks.
        borders: int64 [world_size + 1], ascending from 0 to n.
        collectives: The ranks.
        device: Where collectives work.

    Returns:
        The records that have arrived here, by sender.
    """
    rows = torch.from_numpy(records.view(np.uint8).reshape(records.size, records.dtype.itemsize)).to(device)
    arrived = collectives.all_to_all(rows.split(np.diff(borders).tolist()))
    return torch.cat(arrived).cpu().numpy().reshape(-1).view(records.dtype)
