"""Turns factors that were computed anew into the columns of earlier ones, so that what was learned of those holds.

Singular vectors are defined but for their signs, and close ones but for a rotation: after growth a column may come out
flipped, or in another place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from distributed_il.data.exposure.blocks import single_threaded, sum_blocks
from distributed_il.data.exposure.exposures import Exposures
from distributed_il.data.exposure.factors import ExposureFactors, Float32, Float64, inverse


def aligned(
    factors: ExposureFactors,
    exposures: Exposures,
    earlier: tuple[Float32, Float32],
    scales: tuple[Float64, Float64],
    threads: int = 1,
) -> ExposureFactors:
    """The same factors, turned into the columns of earlier ones.

    The rotation is the orthogonal Q with the least ‖Z Q − Z'‖_F, where the rows of Z and Z' are the factors now and
    earlier, in deviations and not clipped, of all users and items that had some: with the singular value decomposition
    Zᵀ Z' = U S Vᵀ it is U Vᵀ. (Schönemann: A generalized solution of the orthogonal Procrustes problem. Psychometrika
    31, 1966.)

    Args:
        factors: k columns, not turned yet.
        exposures: What they were computed from.
        earlier: z' of users and of items, [ids, k] each, of the first users and items of these; 0 for ids without.
        scales: What these are divided by, float64 [k] each.
        threads: How many threads share the work; the result does not depend on it.

    Returns:
        The factors with their rotation.

    Raises:
        ValueError: They have other columns, or are turned already.
    """
    if factors.rotation is not None or any(z.shape[1] != factors.columns for z in earlier):
        raise ValueError(f"{factors.columns} columns can't be turned into {earlier[0].shape[1]}, or are turned already")
    folder = factors.user_folder()

    def users(start: int, stop: int) -> Tensor:
        return _cross(folder.fold(exposures.by_user, start, stop), earlier[0][start:stop])

    def items(start: int, stop: int) -> Tensor:
        return _cross(factors.of_items(start, stop), earlier[1][start:stop])

    with single_threaded():
        total = torch.zeros((factors.columns, factors.columns), dtype=torch.float64)
        own = factors.user_scales, factors.item_scales
        for side, z, here, there in zip((users, items), earlier, own, scales, strict=True):
            weights = torch.from_numpy(np.outer(inverse(here), inverse(there)))
            total += sum_blocks(side, z.shape[0], threads) * weights
        left, _, right = torch.linalg.svd(total)
        return replace(factors, rotation=(left @ right).numpy())


def _cross(now: Float32, earlier: Float32) -> Tensor:
    return torch.from_numpy(now.astype(np.float64)).T @ torch.from_numpy(earlier.astype(np.float64))
