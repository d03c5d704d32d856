"""The leading singular vectors of the normalised exposures, by randomised subspace iteration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.counter_rng import EXPOSURE_START, hash_u64
from distributed_il.data.exposure.blocks import mapped, orthonormalise, solve_right, sum_blocks
from distributed_il.data.exposure.normalised import NormalisedExposures

_PLAIN_PASSES = 2
"""Passes without acceleration: they find what is to be damped."""
_DAMPED = 1e-3
"""Of the largest squared singular value this much is damped at least, or the polynomials grow without bounds."""


@dataclass(frozen=True, eq=False, slots=True)
class Spectrum:
    """Leading singular values of N, with the right singular vectors."""

    values: NDArray[np.float64]
    """S, float64 [columns], descending."""
    vectors: Tensor
    """V, [num_items, columns]; 0 for items without exposures, and in columns whose singular value is 0."""


def start_columns(num_items: int, columns: int, seed: int) -> Tensor:
    """Gaussian numbers, float32 [num_items, columns], each from (seed, item, column) alone (Box and Muller)."""
    start = torch.empty((num_items, columns))
    for first in range(0, num_items, 1 << 16):
        items = np.arange(first, min(first + (1 << 16), num_items))[:, None]
        hashes = hash_u64(seed, EXPOSURE_START, items, np.arange(columns)[None])
        # 32 bits each, moved into (0, 1).
        radius = ((hashes >> np.uint64(32)) + 0.5) / 2**32
        angle = (hashes & np.uint64(0xFFFFFFFF)) * (2 * np.pi / 2**32)
        start[first : first + items.size] = torch.from_numpy(np.sqrt(-2 * np.log(radius)) * np.cos(angle))
    return start


def leading_spectrum(matrix: NormalisedExposures, basis: Tensor, columns: int, passes: int, scratch: Path) -> Spectrum:
    """The leading singular values and right vectors of N.

    Subspace iteration on NᵀN, orthonormal again after each pass, and Rayleigh–Ritz at the end. (Halko, Martinsson,
    Tropp: Finding structure with randomness. SIAM Review 53, 2011: algorithms 4.4 and 5.1.) From the third pass on the
    powers of NᵀN are Chebyshev polynomials, which stay below 1 on what is to be damped and grow much faster beyond:
    the same products, a quarter of the error. (Saad: Chebyshev acceleration techniques for solving nonsymmetric
    eigenvalue problems. Math. Comp. 42, 1984.)

    Args:
        matrix: N.
        basis: float32 or float64 [num_items, l], l ≥ columns where there are as many items: where to start. It is
            overwritten. All products are of its dtype.
        columns: How many to find.
        passes: Products with NᵀN.
        scratch: Directory for a file of num_users · l numbers, which vanishes.

    Returns:
        The spectrum, its vectors oriented to Σ v³ > 0. Columns beyond the rank of N are 0.
    """
    shared = _user_rows(matrix, basis, scratch)
    orthonormalise(basis, matrix.threads)
    before, half = torch.zeros(0), 0.0
    # Of a basis of everything nothing can be improved.
    for number in range(passes if basis.shape[1] < basis.shape[0] else 0):
        gram = matrix.times(basis, shared)
        if number < _PLAIN_PASSES:
            matrix.transposed_times(shared, basis)
            orthonormalise(basis, matrix.threads)
            continue
        if number == _PLAIN_PASSES:
            squares = torch.linalg.eigvalsh(gram)
            half = max(float(squares[0]), _DAMPED * float(squares[-1]), 1e-12) / 2
            before = torch.zeros_like(basis)
        # T_0 = 1, T_1(x) = x, T_{j+1}(x) = 2 x T_j(x) − T_{j-1}(x) with x = NᵀN / half − 1.
        ahead = torch.empty_like(basis)
        matrix.transposed_times(shared, ahead)
        factor = (1 if number == _PLAIN_PASSES else 2) / half
        ahead.mul_(factor).sub_(basis, alpha=factor * half).sub_(before)
        before, basis = basis, ahead
        # What is done to the columns of the last polynomial must be done to those of the one before it.
        triangle = orthonormalise(basis, matrix.threads)
        solve_right(before, triangle, matrix.threads)
    gram = matrix.times(basis, shared)
    return _rotated(matrix, basis, gram, columns)


def largest_value(matrix: NormalisedExposures, basis: Tensor, passes: int, scratch: Path) -> float:
    """The largest singular value of N alone, within 1 % where the spectrum is flat.

    There subspace iteration stays 2 to 5 % below it. Rayleigh–Ritz over the bases of all passes together converges much
    faster, and few columns do. (Musco, Musco: Randomized block Krylov methods for stronger and faster approximate
    singular value decomposition. NeurIPS 2015.)

    Args:
        matrix: N.
        basis: float32 or float64 [num_items, l]: where to start. It is overwritten.
        passes: Products with NᵀN; (passes + 1) · l is at most the number of items.
        scratch: Directory for a file of num_users · (passes + 1) · l numbers.
    """
    width = basis.shape[1]
    bases = torch.empty((basis.shape[0], (passes + 1) * width), dtype=basis.dtype)
    shared = _user_rows(matrix, basis, scratch)
    for number in range(passes + 1):
        if number:
            matrix.times(basis, shared)
            matrix.transposed_times(shared, basis)
        orthonormalise(basis, matrix.threads)
        bases[:, number * width : (number + 1) * width] = basis
    orthonormalise(bases, matrix.threads)
    gram = matrix.times(bases, _user_rows(matrix, bases, scratch))
    return float(torch.linalg.eigvalsh(gram)[-1].clamp_min(0).sqrt())


def _user_rows(matrix: NormalisedExposures, basis: Tensor, scratch: Path) -> Tensor:
    """Room for a product of N with a basis, [num_users, columns]."""
    dtype = np.dtype(np.float32 if basis.dtype == torch.float32 else np.float64)
    return torch.from_numpy(mapped((matrix.exposures.num_users, basis.shape[1]), dtype, scratch))


def _rotated(matrix: NormalisedExposures, basis: Tensor, gram: Tensor, columns: int) -> Spectrum:
    """Rayleigh–Ritz: with Qᵀ Nᵀ N Q = E S² Eᵀ the singular values are S, the vectors Q E."""
    squares, rotation = torch.linalg.eigh(gram)
    values = torch.zeros(columns, dtype=torch.float64)
    found = squares.flip(0)[:columns].clamp_min(0).sqrt()
    # N's singular values lie below 1; what rounding alone leaves of them is none.
    found[found < max(1e-6, 1e-5 * float(found[0]))] = 0
    values[: found.numel()] = found
    rotation = rotation.flip(1)[:, :columns] * (found > 0)
    known = torch.from_numpy(matrix.item_degrees > 0)[:, None]
    vectors = torch.zeros((basis.shape[0], columns), dtype=basis.dtype)

    def rotate(start: int, stop: int) -> Tensor:
        rows = (basis[start:stop].double() @ rotation) * known[start:stop]
        vectors[start:stop, : found.numel()] = rows
        return rows.pow(3).sum(dim=0)

    skew = sum_blocks(rotate, basis.shape[0], matrix.threads)
    vectors[:, : found.numel()] *= torch.where(skew < 0, -1, 1).to(vectors.dtype)
    return Spectrum(values.numpy(), vectors)
