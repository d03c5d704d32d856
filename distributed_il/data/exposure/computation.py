"""Exposure factors from exposures: once for a dataset, the same bits on every number of threads."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distributed_il.data.exposure.blocks import BLOCK_ROWS, single_threaded, sum_blocks, weighted_sum
from distributed_il.data.exposure.dealing import deal_anew
from distributed_il.data.exposure.decomposition import (
    Spectrum,
    largest_value,
    leading_spectrum,
    start_columns,
)
from distributed_il.data.exposure.exposures import Exposures
from distributed_il.data.exposure.factors import ExposureFactors, inverse
from distributed_il.data.exposure.normalised import NormalisedExposures

OVERSAMPLING = 16
"""Columns beside those that are wanted."""
PASSES, MORE_PASSES, _FEW_COLUMNS = 6, 10, 16
"""Passes of subspace iteration from random columns, up to that many columns and beyond.

Later singular values lie closer together: on MovieLens-1M the sine of the largest angle to the exact subspace is 0.05
for k = 16 after 6 passes, and for k = 32 0.31 after 6 and 0.08 after 10. From an earlier basis two are enough."""
WARM_PASSES = 2
_EDGE_COLUMNS = 4
_EDGE_PASSES = 11


def compute_factors(
    exposures: Exposures,
    *,
    columns: int,
    tau: float,
    seed: int,
    scratch: Path,
    threads: int = 1,
    passes: int | None = None,
    start: ExposureFactors | None = None,
    edge: bool = True,
    dtype: torch.dtype = torch.float32,
) -> ExposureFactors:
    """Computes exposure factors.

    Args:
        exposures: All training exposures, at least one.
        columns: k, at least 1. Beyond the rank of the exposures the columns are 0.
        tau: τ as a multiple of each side's mean degree, at least 0.
        seed: Of the start and of the deal for the null edge.
        scratch: A directory on a local disk: num_users · (k + 16) numbers, and for the null edge num_users · 48 numbers
            and 12 bytes an exposure; files there vanish. Memory holds some matrices of num_items · (k + 16).
        threads: How many threads share the work; the result does not depend on it.
        passes: Of the subspace iteration; by default 6 up to 16 columns, 10 beyond, 2 from an earlier basis.
        start: An earlier basis of the first items of these.
        edge: Whether to compute the null edge.
        dtype: float32, or float64 to check it.

    Returns:
        The factors, whose item vectors are of `dtype`.

    Raises:
        ValueError: There is no exposure, or an argument is out of range.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}; it must be at least 1")
    with single_threaded():
        matrix = NormalisedExposures(exposures, tau, threads)
        basis = _start(matrix, min(columns + OVERSAMPLING, exposures.num_items), seed, start, dtype)
        if passes is None:
            passes = (PASSES if columns <= _FEW_COLUMNS else MORE_PASSES) if start is None else WARM_PASSES
        spectrum = leading_spectrum(matrix, basis, columns, passes, scratch)
        del basis
        factors = _with_users(matrix, _item_side(matrix, spectrum))
        return factors if not edge else replace(factors, null_edge=null_edge(exposures, tau, seed, scratch, threads))


def null_edge(exposures: Exposures, tau: float, seed: int, scratch: Path, threads: int = 1) -> float:
    """The largest singular value after the items were dealt anew at the same degrees: what chance alone reaches.

    Args:
        exposures: The real ones.
        tau: As for the factors.
        seed: Of the deal and of the start.
        scratch: Directory for 12 bytes an exposure and num_users · 48 numbers.
        threads: How many threads share the work.
    """
    columns = min(_EDGE_COLUMNS, exposures.num_items)
    passes = min(_EDGE_PASSES, exposures.num_items // columns - 1)
    with single_threaded(), tempfile.TemporaryDirectory(dir=scratch) as place:
        matrix = NormalisedExposures(deal_anew(exposures, seed, Path(place)), tau, threads)
        return largest_value(matrix, start_columns(exposures.num_items, columns, seed), passes, scratch)


def grown(factors: ExposureFactors, exposures: Exposures, scratch: Path | None = None) -> ExposureFactors:
    """The same basis after the exposures have grown: items without a vector get one from their users.

    What the basis holds already stays: its vectors, S, centres, τ, scales and rotation, so that a trained model remains
    valid.

    Args:
        factors: The basis, of the first items of these.
        exposures: All of today.
        scratch: Directory for num_users · k numbers; without one they are in memory.
    """
    folder = replace(factors, rotation=None).item_folder(exposures.by_user, scratch)
    vectors = np.zeros((exposures.num_items, factors.columns), dtype=factors.item_vectors.dtype)
    vectors[: factors.num_items] = factors.item_vectors
    for start in range(0, exposures.num_items, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, exposures.num_items)
        part = vectors[start:stop]
        folded = folder.vectors(folder.fold(exposures.by_item, start, stop))
        np.copyto(part, folded, where=~np.any(part, axis=1, keepdims=True))
    return factors.extended(vectors)


def _start(
    matrix: NormalisedExposures, width: int, seed: int, start: ExposureFactors | None, dtype: torch.dtype
) -> Tensor:
    """Random columns, the first of them in the place of an earlier basis' v_i = (d_i + τ_i)^½ S^½ x_i."""
    items = matrix.exposures.num_items
    basis = start_columns(items, width, seed).to(dtype)
    if start is not None:
        if start.num_items > items:
            raise ValueError(f"start has {start.num_items} items, the exposures only {items}")
        known, columns = start.num_items, min(width, start.columns)
        vectors = torch.from_numpy(start.item_vectors[:, :columns] * np.sqrt(start.singular_values[:columns]))
        filled = torch.from_numpy(start.singular_values[:columns] > 0)
        weights = torch.from_numpy(matrix.item_degrees[:known] + matrix.tau_items)[:, None].sqrt()
        # Where the earlier basis has no column, and for items it does not know, the random numbers stay; a vector's
        # entries are about 1 / √items, and so must theirs be.
        basis[:, :columns] /= items**0.5
        basis[:known, :columns] = torch.where(filled, (vectors * weights).to(dtype), basis[:known, :columns])
    return basis


def _item_side(matrix: NormalisedExposures, spectrum: Spectrum) -> ExposureFactors:
    """x_i = (d_i + τ_i)^-½ v_i S^-½ with all that follows from it alone; the users' part is still 0."""
    exposures, values = matrix.exposures, spectrum.values
    roots = torch.from_numpy(np.sqrt(inverse(values)))
    vectors = spectrum.vectors

    def divide(start: int, stop: int) -> Tensor:
        rows = vectors[start:stop].double() * matrix.item_shares(start, stop).sqrt() * roots
        vectors[start:stop] = rows
        return (rows * rows).sum(dim=0)

    squares = sum_blocks(divide, exposures.num_items, matrix.threads).numpy() * values**2
    found = float((values**2).sum())
    return ExposureFactors(
        item_vectors=vectors.numpy(),
        singular_values=values,
        item_centre=weighted_sum(matrix.item_degrees, vectors, matrix.threads).numpy() / exposures.total,
        user_centre=np.zeros(values.size),
        tau_users=matrix.tau_users,
        tau_items=matrix.tau_items,
        user_scales=np.zeros(values.size),
        item_scales=np.sqrt(squares / np.count_nonzero(matrix.item_degrees)),
        energy=min(found / matrix.squared_norm(), 1.0) if found else 0.0,
        null_edge=float("nan"),
    )


def _with_users(matrix: NormalisedExposures, factors: ExposureFactors) -> ExposureFactors:
    """Adds c_u = Σ d_u x_u / m and the scales of z_u, both from the factors as they are served."""
    exposures, folder = matrix.exposures, factors.user_folder()

    def block(start: int, stop: int) -> Tensor:
        rows = torch.from_numpy(folder.fold(exposures.by_user, start, stop)).double()
        degrees = torch.from_numpy(matrix.user_degrees[start:stop].astype(np.float64))
        return torch.stack((degrees @ rows, (rows * rows).sum(dim=0)))

    sums, squares = sum_blocks(block, exposures.num_users, matrix.threads).numpy()
    return replace(
        factors,
        user_centre=sums * inverse(factors.singular_values) / exposures.total,
        user_scales=np.sqrt(squares / np.count_nonzero(matrix.user_degrees)),
    )
