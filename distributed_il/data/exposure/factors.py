"""Exposure factors: what the exposures alone say of a user or an item, and how ids that came later are folded in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.exposure.blocks import BLOCK_ROWS, gather_sums, mapped
from distributed_il.data.exposure.exposures import Int64, Neighbours

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

CLIP = 4.0
"""Scaled factors are clipped to ± this."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ExposureFactors:
    """Item vectors from which everybody's factors follow. Arrays may be memory-mapped.

    With N ≈ U S Vᵀ (`NormalisedExposures`), k columns:

        x_i = (d_i + τ_i)^-½ v_i S^-½          z_i = S ∘ x_i
        z_u = Σ_{i of u} (x_i − c_i) / (n_u + τ_u),   c_i = Σ d_i x_i / m
        x_u = z_u / S = (d_u + τ_u)^-½ u_u S^-½

    So a user's factor is a shrunken mean over the history, and any user can be folded in without training. (Koren:
    Factorization meets the neighborhood. KDD 2008: SVD++ learns such vectors.) Ids without exposures have factors 0.
    """

    item_vectors: Float32
    """x_i, float32 [num_items, k], unscaled and unclipped; 0 for items without a vector."""
    singular_values: Float64
    """S, float64 [k], descending; 0 beyond the rank of the exposures, and there all factors are 0."""
    item_centre: Float64
    """c_i = Σ d_i x_i / m, float64 [k]."""
    user_centre: Float64
    """c_u = Σ d_u x_u / m, float64 [k]."""
    tau_users: float
    """τ_u, in exposures."""
    tau_items: float
    """τ_i, in exposures."""
    user_scales: Float64
    """Root mean square of z_u over users with exposures, float64 [k]."""
    item_scales: Float64
    """Root mean square of z_i over items with exposures, float64 [k]."""
    energy: float
    """Σ S² / ‖N‖_F²: the share of N that the columns hold, in [0, 1]."""
    null_edge: float
    """The largest singular value after the items were dealt anew at the same degrees; nan where that was left out."""
    rotation: Float64 | None = None
    """Q, orthogonal float64 [k, k], of factors that are aligned to earlier ones: all z are then (z / scales) Q, in
    deviations and in the columns of those, and no longer S ∘ x. None for factors with columns of their own."""

    def __post_init__(self) -> None:
        if self.item_vectors.dtype.kind != "f" or self.item_vectors.ndim != 2:
            raise ValueError(
                f"item_vectors must be floats [num_items, k], not {self.item_vectors.dtype} {self.item_vectors.shape}"
            )
        for name in ("singular_values", "item_centre", "user_centre", "user_scales", "item_scales"):
            array: Float64 = getattr(self, name)
            if array.shape != (self.columns,) or array.dtype != np.float64:
                raise ValueError(f"{name} must be float64 [{self.columns}], not {array.dtype} {array.shape}")
        if self.rotation is not None and self.rotation.shape != (self.columns, self.columns):
            raise ValueError(f"rotation must be [{self.columns}, {self.columns}], not {self.rotation.shape}")

    @property
    def num_items(self) -> int:
        """Items, with and without a vector."""
        return self.item_vectors.shape[0]

    @property
    def columns(self) -> int:
        """k."""
        return self.item_vectors.shape[1]

    @property
    def has_structure(self) -> bool:
        """Whether who watched what says more than degrees and chance: the first singular value is above the edge."""
        return bool(self.columns and self.singular_values[0] > self.null_edge)

    def of_items(self, start: int = 0, stop: int | None = None) -> Float32:
        """z_i = S ∘ x_i of a range of items, turned where these are aligned, float32 [stop - start, k]."""
        z = (self.item_vectors[start:stop] * self.singular_values).astype(self.item_vectors.dtype)
        return _turned(z, self.item_scales, self.rotation)

    def user_folder(self) -> UserFolder:
        """What folds users in; it holds a centred copy of the item vectors."""
        return UserFolder(self)

    def item_folder(self, histories: Sequence[Neighbours], scratch: Path | None = None) -> ItemFolder:
        """What folds items in from their users, whose own vectors follow from their histories.

        Args:
            histories: Items of each user, in one or several indexes.
            scratch: Directory for the users' vectors, num_users · k numbers; without one they are in memory.
        """
        return ItemFolder(self, histories, scratch)

    def extended(self, vectors: Float32) -> ExposureFactors:
        """The same basis with more items, or with vectors for items that had none.

        Args:
            vectors: x of all items, float32 [more items, k], the first of them those of this basis
                where these are not 0.

        Raises:
            ValueError: A vector of this basis would change.
        """
        known = _known(self.item_vectors)
        if vectors.shape[0] < self.num_items or not np.array_equal(
            vectors[: self.num_items][known], self.item_vectors[known]
        ):
            raise ValueError("an item of the basis would lose its vector or get another one")
        return replace(self, item_vectors=vectors)


class UserFolder:
    """Folds users in from their histories: z_u = Σ_{i of u} (x_i − c_i) / (n_u + τ_u)."""

    def __init__(self, factors: ExposureFactors) -> None:
        """Centres the item vectors, whose last row stands for every item that has none."""
        self._tau, self._scales, self._rotation = factors.tau_users, factors.user_scales, factors.rotation
        self._known = np.append(_known(factors.item_vectors), False)
        table = np.zeros((self._known.size, factors.columns), dtype=factors.item_vectors.dtype)
        centre = factors.item_centre.astype(table.dtype)
        np.subtract(factors.item_vectors, centre, out=table[:-1], where=self._known[:-1, None])
        self._table = torch.from_numpy(table)

    def fold(self, side: Sequence[Neighbours], start: int = 0, stop: int | None = None) -> Float32:
        """Factors of a range of users.

        Args:
            side: Histories: items of each user, in one or several indexes. Items without a vector, and ids beyond those
                of the basis, don't count.
            start: First user.
            stop: One past the last; all by default.

        Returns:
            z_u, float32 [stop - start, k]; exactly 0 without a known item. Not scaled, but turned where the basis is
            aligned.
        """
        means = _shrunken_means(side, start, stop, self._table, self._known, self._tau)
        return _turned(means, self._scales, self._rotation)

    def fold_one(self, item_ids: Int64) -> Float32:
        """The factor of one user from its history, item ids [n]; float32 [k]."""
        return self.fold(_one(item_ids))[0]


class ItemFolder:
    """Folds items in from their users: z_i = Σ_{u of i} (x_u − c_u) / (n_i + τ_i) with x_u = z_u / S."""

    def __init__(self, factors: ExposureFactors, histories: Sequence[Neighbours], scratch: Path | None) -> None:
        """Folds the users in; use `ExposureFactors.item_folder`."""
        self._tau, self._scales, self._rotation = factors.tau_items, factors.item_scales, factors.rotation
        self._inverse = inverse(factors.singular_values)
        users, folder = histories[0].rows, replace(factors, rotation=None).user_folder()
        self._known = np.zeros(users + 1, dtype=np.bool_)
        table = mapped((users + 1, factors.columns), factors.item_vectors.dtype, scratch)
        table[users] = 0
        for start in range(0, users, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, users)
            vectors = self.vectors(folder.fold(histories, start, stop))
            self._known[start:stop] = known = np.any(vectors, axis=1)
            table[start:stop] = np.where(known[:, None], vectors - factors.user_centre, 0)
        self._table = torch.from_numpy(table)

    def fold(self, side: Sequence[Neighbours], start: int = 0, stop: int | None = None) -> Float32:
        """Factors of a range of items.

        Args:
            side: Users of each item, in one or several indexes; those without a history don't count.
            start: First item.
            stop: One past the last; all by default.

        Returns:
            z_i, float32 [stop - start, k]; exactly 0 without a known user, turned where the basis is aligned.
        """
        means = _shrunken_means(side, start, stop, self._table, self._known, self._tau)
        return _turned(means, self._scales, self._rotation)

    def fold_one(self, user_ids: Int64) -> Float32:
        """The factor of one item from its users, user ids [n]; float32 [k]."""
        return self.fold(_one(user_ids))[0]

    def vectors(self, item_factors: Float32) -> Float32:
        """x_i = z_i / S of factors that are not turned, 0 where S is 0; float32 [n, k]."""
        return (item_factors * self._inverse).astype(item_factors.dtype)


def _turned(factors: Float32, scales: Float64, rotation: Float64 | None) -> Float32:
    """(z / scales) Q; z itself without a rotation."""
    if rotation is None:
        return factors
    result = np.empty_like(factors)
    for start in range(0, len(factors), BLOCK_ROWS):
        deviations = factors[start : start + BLOCK_ROWS] * inverse(scales)
        turned = np.zeros(deviations.shape)
        # Column by column: what a matrix product rounds to depends on how many rows it has.
        for column, row in zip(deviations.T, rotation, strict=True):
            turned += column[:, None] * row
        result[start : start + BLOCK_ROWS] = turned
    return result


def inverse(values: Float64) -> Float64:
    """1 / values, 0 where they are 0."""
    return np.divide(1.0, values, out=np.zeros(values.shape), where=values > 0)


def _known(vectors: Float32) -> NDArray[np.bool_]:
    return np.any(vectors, axis=1)


def _shrunken_means(
    side: Sequence[Neighbours], start: int, stop: int | None, table: Tensor, known: NDArray[np.bool_], tau: float
) -> Float32:
    stop = side[0].rows if stop is None else stop
    means = np.empty((stop - start, table.shape[1]), dtype=table.numpy().dtype)
    for first in range(start, stop, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, stop)
        counts = np.zeros(last - first, dtype=np.int64)
        known_side: list[Neighbours] = []
        for index in side:
            offsets = index.offsets[first : last + 1]
            ids = np.minimum(index.ids[offsets[0] : offsets[-1]], known.size - 1).astype(np.int32)
            before = np.concatenate(([0], np.cumsum(known.take(ids))))
            offsets = offsets - offsets[0]
            counts += before.take(offsets[1:]) - before.take(offsets[:-1])
            known_side.append(Neighbours(offsets, ids))
        shares = np.divide(1.0, counts + tau, out=np.zeros(counts.size), where=counts > 0)
        sums = gather_sums(known_side, 0, last - first, table).numpy()
        means[first - start : last - start] = sums * shares.astype(sums.dtype)[:, None]
    return means


def _one(ids: Int64) -> tuple[Neighbours]:
    return (Neighbours(np.array([0, ids.size], dtype=np.int64), ids.astype(np.int32)),)
