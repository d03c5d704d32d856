"""Random exposure factors, some rows without any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from distributed_il.data.dataset import Dataset, FactorsManifest, write_factors
from distributed_il.data.dataset.factors import ARRAYS
from distributed_il.models.embedding.factored import Factors, RowFactors


def random_factors(num_users: int, num_items: int, k: int = 3, seed: int = 0) -> Factors:
    """z of float64 models: every fifth row has no exposures, some factors lie beyond the bound."""
    generator = torch.Generator().manual_seed(seed)

    def side(rows: int) -> RowFactors:
        raw = torch.randn((rows, k), generator=generator) * 3
        raw[::5] = 0
        return RowFactors(raw, torch.linspace(0.5, 2, k, dtype=torch.float64), clip=4.0, scale=0.1)

    return Factors(side(num_users), side(num_items), 1e-4)


def store_random_factors(
    dataset: Dataset, scratch: Path, *, columns: int = 2, null_edge: float = 0.0, seed: int = 0
) -> FactorsManifest:
    """Lays random factors beside a dataset; the singular values fall from 1 to ½."""
    generator = np.random.default_rng(seed)
    rows = dict(zip(ARRAYS, (dataset.num_users, dataset.num_items, dataset.num_items), strict=True))
    arrays = {name: generator.normal(size=(size, columns)).astype(np.float32) for name, size in rows.items()}
    manifest = FactorsManifest(
        dataset=dataset.fingerprint,
        seed=seed,
        tau=1.0,
        tau_users=3.0,
        tau_items=2.0,
        singular_values=tuple(np.linspace(1, 0.5, columns).tolist()),
        item_centre=(0.1,) * columns,
        user_centre=(0.1,) * columns,
        user_scales=(1.0,) * columns,
        item_scales=(1.0,) * columns,
        energy=1.0,
        null_edge=null_edge,
        exposures={},
        left_out={},
    )
    scratch.mkdir()
    return write_factors(dataset.filesystem, dataset.root, scratch, manifest, arrays)
