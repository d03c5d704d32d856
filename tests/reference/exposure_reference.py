"""Exposure factors the slow way: every matrix is formed, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.exposure import Exposures, Neighbours, transpose

Float64 = NDArray[np.float64]


def neighbours(counts: NDArray[Any]) -> Neighbours:
    """The index of a dense matrix of 0 and 1."""
    rows, ids = np.nonzero(counts)
    offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=counts.shape[0]))))
    return Neighbours(offsets.astype(np.int64), ids.astype(np.int32))


def exposures_of(*matrices: NDArray[Any]) -> Exposures:
    """Exposures with one index a side for each dense matrix of 0 and 1."""
    by_user = tuple(map(neighbours, matrices))
    return Exposures(by_user, tuple(transpose(index, matrices[0].shape[1]) for index in by_user))


def planted(users: int, items: int, seed: int, groups: int = 6) -> NDArray[np.int64]:
    """Users of groups that each like some of the items, 0 and 1; the first user and the last item have none."""
    rng = np.random.default_rng(seed)
    user_group, item_group = rng.integers(groups, size=users), rng.integers(groups, size=items)
    popularity = rng.uniform(0.05, 0.3, size=items)
    weight = np.where(user_group[:, None] == item_group[None], 3.0 - 0.15 * item_group[None], 0.4)
    result = (rng.random((users, items)) < popularity * weight).astype(np.int64)
    result[0] = result[:, -1] = 0
    return result


@dataclass(frozen=True)
class Reference:
    """All that `ExposureFactors` says, from dense matrices."""

    normalised: Float64
    singular_values: Float64
    item_vectors: Float64
    user_vectors: Float64
    item_centre: Float64
    user_centre: Float64
    user_factors: Float64
    item_factors: Float64
    energy: float


def normalise(counts: NDArray[Any], tau: float) -> tuple[Float64, float, float]:
    """N = (D_u + τ_u)^-½ (R − d_u d_iᵀ / m) (D_i + τ_i)^-½, with τ_u and τ_i; rows without exposures are 0."""
    users, items, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    tau_users, tau_items = tau * total / np.count_nonzero(users), tau * total / np.count_nonzero(items)
    residual = counts - np.outer(users, items) / total
    users, items = np.where(users, users + tau_users, np.inf), np.where(items, items + tau_items, np.inf)
    return residual / np.sqrt(users)[:, None] / np.sqrt(items)[None], tau_users, tau_items


def reference(counts: NDArray[Any], tau: float, columns: int) -> Reference:
    """x_i = (d_i + τ_i)^-½ v_i S^-½ and what follows, by a full singular value decomposition."""
    normalised, tau_users, tau_items = normalise(counts, tau)
    users, items, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    left, values, right = np.linalg.svd(normalised, full_matrices=False)
    left, values, right = left[:, :columns], values[:columns], right[:columns].T
    sign = np.sign((right**3).sum(axis=0))
    left, right = left * sign, right * sign
    item_shares, user_shares = (
        np.where(degrees, 1 / np.where(degrees, degrees + tau_side, 1), 0)[:, None]
        for degrees, tau_side in ((items, tau_items), (users, tau_users))
    )
    item_vectors = np.sqrt(item_shares) * right / np.sqrt(values)
    user_vectors = np.sqrt(user_shares) * left / np.sqrt(values)
    return Reference(
        normalised=normalised,
        singular_values=values,
        item_vectors=item_vectors,
        user_vectors=user_vectors,
        item_centre=items @ item_vectors / total,
        user_centre=users @ user_vectors / total,
        user_factors=values * user_vectors,
        item_factors=values * item_vectors,
        energy=(values**2).sum() / (normalised**2).sum(),
    )
