"""The exchange of row gradients between ranks: one packed collective for all tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.models.embedding.table import RowGradients

ID_BYTES = 8
GATHERED_DENSE_BYTES = 1 << 20
"""Up to so many bytes over all ranks a dense gradient is gathered with the rows: one collective less."""


def reduce_rows(parts: Sequence[RowGradients]) -> RowGradients:
    """Sums the rows of equal ids, part after part.

    Args:
        parts: Each of distinct ids.

    Returns:
        Distinct ids, ascending, each with its sum.
    """
    distinct, inverse = torch.unique(torch.cat([part.ids for part in parts]), return_inverse=True)
    positions = inverse.split([part.ids.numel() for part in parts])
    return RowGradients(distinct, sum_rows([part.gradient for part in parts], positions, distinct.numel()))


def sum_rows(parts: Sequence[Tensor], positions: Sequence[Tensor], num_rows: int) -> Tensor:
    """Sums rows of the same position, part after part, so that equal parts give equal bits.

    Args:
        parts: Rows, [n, dim] each.
        positions: Of the rows of each part, distinct within it, int64 [n] each.
        num_rows: Rows of the sum.

    Returns:
        [num_rows, dim].
    """
    summed = parts[0].new_zeros((num_rows, parts[0].shape[1]))
    # One part at a time: no row is added to twice in a call, which a GPU would do in an order of its own.
    for part, position in zip(parts, positions, strict=True):
        summed.index_add_(0, position, part)
    return summed


def goes_with_rows(dense: Tensor, world_size: int) -> bool:
    """Returns whether a dense gradient is small enough to be sent to every rank together with rows."""
    return dense.numel() * dense.element_size() * world_size <= GATHERED_DENSE_BYTES


def average_dense(dense: Tensor, collectives: Collectives) -> Tensor:
    """Averages a gradient [P] that every rank has whole in a collective of its own, to the same bits on each."""
    return collectives.all_reduce_sum(dense.clone()).div_(collectives.world_size)


def exchange_rows(
    parts: Sequence[RowGradients], dense: Tensor | None, *, capacity: int, collectives: Collectives
) -> tuple[tuple[RowGradients, ...], Tensor | None]:
    """Averages gradients over ranks: Σ_ranks gradient / world_size, on every rank the same bits.

    Ranks send [counts | ids and rows of each table | dense] as one buffer of bytes, padded to `capacity` rows a table,
    and each reduces the same gathered buffer in rank order. A dense gradient that is large is reduced apart.

    Args:
        parts: This rank's gradients, one entry a table, ids distinct.
        dense: A gradient that every rank has whole, [P]; None if there is none.
        capacity: Most rows that any rank may send for one table; the same number on every rank.
        collectives: The ranks.

    Returns:
        For each table the gradient of every row that any rank touched, and the dense gradient.

    Raises:
        ValueError: A part holds more than `capacity` rows.
    """
    world = collectives.world_size
    if world == 1:
        return tuple(parts), dense
    if any(part.ids.numel() > capacity for part in parts):
        raise ValueError(f"a part holds more than {capacity} rows")
    alone = dense is not None and not goes_with_rows(dense, world)
    packed = None if alone else dense
    capacity += capacity % 2  # keeps every table's ids on a multiple of 8 bytes
    gathered = collectives.all_gather(_pack(parts, packed, capacity))
    ranks = [_unpack(buffer, parts, capacity) for buffer in gathered]
    reduced: list[RowGradients] = []
    for table in range(len(parts)):
        total = reduce_rows([rank[table] for rank in ranks])
        reduced.append(RowGradients(total.ids, total.gradient.div_(world)))
    if dense is None:
        return tuple(reduced), None
    if alone:
        return tuple(reduced), average_dense(dense, collectives)
    start = _start_of_dense(parts, capacity)
    stop = start + dense.numel() * dense.element_size()
    return tuple(reduced), gathered[:, start:stop].view(dense.dtype).sum(dim=0).div_(world)


def _table_bytes(part: RowGradients, capacity: int) -> int:
    return capacity * (ID_BYTES + part.gradient.shape[1] * part.gradient.element_size())


def _start_of_dense(parts: Sequence[RowGradients], capacity: int) -> int:
    end = ID_BYTES * len(parts) + sum(_table_bytes(part, capacity) for part in parts)
    return end + -end % ID_BYTES


def _pack(parts: Sequence[RowGradients], dense: Tensor | None, capacity: int) -> Tensor:
    start = _start_of_dense(parts, capacity)
    size = start + (0 if dense is None else dense.numel() * dense.element_size())
    # What lies beyond the counts is never read, so the buffer need not be cleared.
    buffer = torch.empty(size + -size % ID_BYTES, dtype=torch.uint8, device=parts[0].ids.device)
    head = ID_BYTES * len(parts)
    buffer[:head].view(torch.int64).copy_(torch.tensor([part.ids.numel() for part in parts]))
    for part, ids, rows in zip(parts, *_views(buffer, parts, capacity), strict=True):
        count = part.ids.numel()
        ids[:count] = part.ids
        rows[:count] = part.gradient
    if dense is not None:
        buffer[start:size].view(dense.dtype).copy_(dense)
    return buffer


def _unpack(buffer: Tensor, like: Sequence[RowGradients], capacity: int) -> list[RowGradients]:
    counts = buffer[: ID_BYTES * len(like)].view(torch.int64).tolist()
    tables = zip(counts, *_views(buffer, like, capacity), strict=True)
    return [RowGradients(ids[:count], rows[:count]) for count, ids, rows in tables]


def _views(buffer: Tensor, like: Sequence[RowGradients], capacity: int) -> tuple[list[Tensor], list[Tensor]]:
    ids, rows = [], []
    start = ID_BYTES * len(like)
    for part in like:
        middle, stop = start + capacity * ID_BYTES, start + _table_bytes(part, capacity)
        ids.append(buffer[start:middle].view(torch.int64))
        rows.append(buffer[middle:stop].view(part.gradient.dtype).view(capacity, -1))
        start = stop
    return ids, rows
