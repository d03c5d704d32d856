"""Random exposure factors, some rows without any."""

from __future__ import annotations

import torch

from distributed_il.models.embedding.factored import Factors, RowFactors


def random_factors(num_users: int, num_items: int, k: int = 3, seed: int = 0) -> Factors:
    """z of float64 models: every fifth row has no exposures, some factors lie beyond the bound."""
    generator = torch.Generator().manual_seed(seed)

    def side(rows: int) -> RowFactors:
        raw = torch.randn((rows, k), generator=generator) * 3
        raw[::5] = 0
        return RowFactors(raw, torch.linspace(0.5, 2, k, dtype=torch.float64), clip=4.0, scale=0.1)

    return Factors(side(num_users), side(num_items), 1e-4)
