"""The exposures with their degrees taken out: a matrix that is never formed, only multiplied with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.exposure.blocks import each_block, gather_sums, sum_blocks, weighted_sum
from distributed_il.data.exposure.exposures import Exposures


class NormalisedExposures:
    """N = (D_u + τ_u)^-½ (R − d_u d_iᵀ / m) (D_i + τ_i)^-½, never formed: products with it are sums of gathered rows.

    With w_i = (d_i + τ_i)^-½ v_i and its mean c = Σ d_i w_i / m over exposures, R 1 = d_u gives
    (N V)_u = (d_u + τ_u)^-½ Σ_{i of u} (w_i − c): subtracting d_u d_iᵀ / m is subtracting the mean.

    τ are multiples of the mean degree of the ids with exposures. (Chaudhuri, Chung, Tsiatas: Spectral clustering of
    graphs with general degrees. COLT 2012; Qin, Rohe: Regularized spectral clustering. NeurIPS 2013.)
    """

    def __init__(self, exposures: Exposures, tau: float, threads: int = 1) -> None:
        """Counts degrees.

        Args:
            exposures: R, at least one exposure.
            tau: τ as a multiple of each side's mean degree, at least 0.
            threads: Number of threads that share the blocks of rows; the result does not depend on it.

        Raises:
            ValueError: There is no exposure, or τ is negative.
        """
        if exposures.total == 0:
            raise ValueError("there are no exposures to decompose")
        if tau < 0:
            raise ValueError(f"tau is {tau}; it must be at least 0")
        self.exposures = exposures
        self.threads = threads
        self.user_degrees, self.item_degrees = exposures.user_degrees(), exposures.item_degrees()
        """d_u, int64 [num_users], and d_i, int64 [num_items]."""
        self.tau_users, self.tau_items = (
            tau * exposures.total / int(np.count_nonzero(degrees)) for degrees in (self.user_degrees, self.item_degrees)
        )
        """τ_u and τ_i, in exposures."""

    def user_shares(self, start: int, stop: int) -> Tensor:
        """1 / (d_u + τ_u), float64 [stop - start, 1]; 0 for users without exposures."""
        return _shares(self.user_degrees[start:stop], self.tau_users)

    def item_shares(self, start: int, stop: int) -> Tensor:
        """1 / (d_i + τ_i), float64 [stop - start, 1]; 0 for items without exposures."""
        return _shares(self.item_degrees[start:stop], self.tau_items)

    def times(self, vectors: Tensor, out: Tensor) -> Tensor:
        """Writes (D_u + τ_u)^-½ N V, the rows that the way back gathers, and returns the Gram matrix of N V.

        Args:
            vectors: V [num_items, columns].
            out: [num_users, columns].

        Returns:
            Vᵀ Nᵀ N V, float64 [columns, columns].
        """
        weighted = torch.empty_like(vectors)

        def weigh(start: int, stop: int) -> None:
            weighted[start:stop] = vectors[start:stop] * self.item_shares(start, stop).sqrt().to(vectors.dtype)

        each_block(weigh, self.exposures.num_items, self.threads)
        centre = weighted_sum(self.item_degrees, weighted, self.threads) / self.exposures.total
        weighted -= centre.to(weighted.dtype)

        def product(start: int, stop: int) -> Tensor:
            sums = gather_sums(self.exposures.by_user, start, stop, weighted)
            shares = self.user_shares(start, stop)
            out[start:stop] = sums * shares.to(sums.dtype)
            values = sums.double() * shares.sqrt()
            return values.T @ values

        return sum_blocks(product, self.exposures.num_users, self.threads)

    def transposed_times(self, shared: Tensor, out: Tensor) -> None:
        """Writes Nᵀ Y.

        Args:
            shared: (D_u + τ_u)^-½ Y [num_users, columns], what `times` wrote.
            out: [num_items, columns].
        """
        # R^T of the mean is d_i times it. It is small, as the rows were centred: to subtract it afterwards costs no
        # accuracy and spares a pass over the users.
        centre = weighted_sum(self.user_degrees, shared, self.threads) / self.exposures.total

        def product(start: int, stop: int) -> None:
            sums = gather_sums(self.exposures.by_item, start, stop, shared).double()
            sums -= torch.from_numpy(self.item_degrees[start:stop].astype(np.float64))[:, None] * centre
            out[start:stop] = sums * self.item_shares(start, stop).sqrt()

        each_block(product, self.exposures.num_items, self.threads)

    def squared_norm(self) -> float:
        """‖N‖_F² = Σ R_ui² / (…) − 2 Σ R_ui d_u d_i / (m …) + Σ d_u² / (d_u + τ_u) · Σ d_i² / (d_i + τ_i) / m²."""
        total, indexes = self.exposures.total, self.exposures.by_user
        items = torch.from_numpy(self.item_degrees.astype(np.float64))[:, None]
        shares = self.item_shares(0, items.shape[0])
        table = torch.cat((shares, shares * items), dim=1)

        def block(start: int, stop: int) -> Tensor:
            sums = gather_sums(indexes, start, stop, table)
            users = torch.from_numpy(self.user_degrees[start:stop].astype(np.float64))[:, None]
            parts = torch.cat((sums[:, :1], -2 / total * users * sums[:, 1:], users * users), dim=1)
            parts[:, :1] += self._repeated(start, stop, shares)
            return (parts * self.user_shares(start, stop)).sum(dim=0)

        linear, cross, users = sum_blocks(block, self.exposures.num_users, self.threads).tolist()
        return linear + cross + users * float((items * items * shares).sum()) / total**2

    def _repeated(self, start: int, stop: int, shares: Tensor) -> Tensor:
        """Σ (R_ui² − R_ui) / (d_i + τ_i) over the items of each user, float64 [stop - start, 1]: pairs that repeat."""
        users: list[NDArray[Any]] = []
        items: list[NDArray[Any]] = []
        for index in self.exposures.by_user:
            offsets = index.offsets[start : stop + 1]
            users.append(np.repeat(np.arange(stop - start, dtype=np.int64), np.diff(offsets)))
            items.append(index.ids[offsets[0] : offsets[-1]])
        keys = np.concatenate(users) << 32 | np.concatenate(items)
        if np.all(keys[1:] > keys[:-1]):
            return torch.zeros((stop - start, 1), dtype=torch.float64)
        keys, counts = np.unique(keys, return_counts=True)
        again = np.flatnonzero(counts > 1)
        counts = counts.take(again)
        rows, columns = keys.take(again) >> 32, keys.take(again) & 0xFFFFFFFF
        weights = shares[:, 0].numpy().take(columns) * (counts * counts - counts)
        return torch.from_numpy(np.bincount(rows, weights, minlength=stop - start).astype(np.float64))[:, None]


def _shares(degrees: NDArray[np.int64], tau: float) -> Tensor:
    shares = np.divide(1.0, degrees + tau, out=np.zeros(degrees.size), where=degrees > 0)
    return torch.from_numpy(shares)[:, None]
