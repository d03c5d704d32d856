"""Computes the exposure factors of a dataset, aligned to earlier ones or not, or folds them in from those before it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import Dataset, FactorsManifest, StoredFactors, write_factors
from distributed_il.data.exposure import ExposureFactors, Exposures, aligned, compute_factors, grown
from distributed_il.data.exposure.blocks import mapped
from distributed_il.data.exposure.computation import OVERSAMPLING
from distributed_il.data.prepare.build.training_exposures import TrainingExposures, training_exposures

_FEW_COLUMNS, _COLUMNS, _FEW_ROWS = 16, 32, 100_000
"""k below that many labelled training rows, and from there on."""
_DENSE_TAU, _TAU = 0.3, 1.0
"""τ where labelled rows are at least half of the exposures, and elsewhere."""
_LEAST_EXPOSURES = 1_000
_FOLD_ROWS = 1 << 16


class TooFewExposuresError(UserError):
    """The log is too small to tell structure from chance; factors are left out."""


def add_factors(
    dataset: Dataset,
    scratch: Path,
    *,
    columns: int | None = None,
    tau: float | None = None,
    parent: StoredFactors | None = None,
    earlier: StoredFactors | None = None,
    threads: int | None = None,
    store: bool = True,
    progress: StageProgress = lambda stage, done, total: None,
) -> FactorsManifest:
    """Computes the exposure factors of a dataset and writes them beside it.

    Args:
        dataset: A dataset, which may not have appeared under its own name yet.
        scratch: A local directory, on the dataset's disk where that is local.
        columns: k; by default 16 below 100,000 labelled training rows, else 32.
        tau: τ as a multiple of each side's mean degree; by default 0.3 where labelled rows are at least half of the
            training exposures, else 1.
        parent: Factors of the dataset that this one goes on from: their basis stays, and new ids are folded in.
        earlier: Factors of this dataset with as many columns, to which those computed now are aligned. Where their
            files turn out to be damaged, these are a basis of their own.
        threads: How many share the work, by default one a CPU; the result does not depend on it.
        store: False to write nothing, and only tell what the factors would say about themselves.
        progress: Told the stage.

    Returns:
        What was written; without files where nothing was.

    Raises:
        TooFewExposuresError: The log is too small; nothing was written.
    """
    progress("factors", 0, 0)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        place = Path(directory)
        found = training_exposures(dataset, place)
        threads = threads or len(os.sched_getaffinity(0))
        if parent is None:
            tau = _default_tau(dataset, found) if tau is None else tau
            columns = columns or (_FEW_COLUMNS if dataset.rows("train") < _FEW_ROWS else _COLUMNS)
            seed = dataset.manifest.seed
            _require_enough(found.exposures, columns)
            factors = compute_factors(
                found.exposures, columns=columns, tau=tau, seed=seed, scratch=place, threads=threads
            )
        else:
            seed, tau = parent.manifest.seed, parent.manifest.tau
            factors = grown(parent.basis(), found.exposures, place)
        basis = "" if parent is None else parent.basis_fingerprint
        manifest = _manifest(dataset, factors, found, seed=seed, tau=tau, basis=basis)
        if earlier is not None:
            factors, manifest = _aligned(factors, manifest, found.exposures, earlier, threads)
        if not store:
            return manifest
        arrays = {
            "z_users": _user_factors(factors, found.exposures, place),
            "z_items": factors.of_items(),
            "x_items": factors.item_vectors,
        }
        return write_factors(dataset.filesystem, dataset.root, place, manifest, arrays)


def _aligned(
    factors: ExposureFactors, manifest: FactorsManifest, exposures: Exposures, earlier: StoredFactors, threads: int
) -> tuple[ExposureFactors, FactorsManifest]:
    """Turns factors into the columns of earlier ones; the same factors once more keep the rotation that they had."""
    turned = replace(manifest, basis=earlier.basis_fingerprint, rotation=earlier.manifest.rotation)
    if turned == replace(earlier.manifest, files=(), fingerprint=""):
        return replace(factors, rotation=earlier.rotation), turned
    try:
        before = earlier.z_users, earlier.z_items
    except UserError:
        return factors, manifest  # nobody can tell what is damaged, and the new factors take its place
    factors = aligned(factors, exposures, before, (earlier.user_scales, earlier.item_scales), threads)
    return factors, replace(turned, rotation=_flat(factors.rotation))


def _flat(rotation: NDArray[np.float64] | None) -> tuple[float, ...]:
    return () if rotation is None else tuple(rotation.ravel().tolist())


def _default_tau(dataset: Dataset, found: TrainingExposures) -> float:
    return _DENSE_TAU if 2 * dataset.rows("train") >= found.exposures.total else _TAU


def _require_enough(exposures: Exposures, columns: int) -> None:
    least = columns + OVERSAMPLING + 1
    users, items = (int(np.count_nonzero(degrees)) for degrees in (exposures.user_degrees(), exposures.item_degrees()))
    if min(users, items) < least or exposures.total < _LEAST_EXPOSURES:
        raise TooFewExposuresError(
            f"{exposures.total:,} training exposures of {users:,} users and {items:,} items are too few for {columns} "
            f"exposure factors, which need {_LEAST_EXPOSURES:,} of {least:,} and {least:,}; train without factors"
        )


def _user_factors(factors: ExposureFactors, exposures: Exposures, scratch: Path) -> NDArray[np.float32]:
    """z_u of all users, mapped from a file that vanishes with it."""
    result = mapped((exposures.num_users, factors.columns), np.dtype(np.float32), scratch)
    folder = factors.user_folder()
    for start in range(0, exposures.num_users, _FOLD_ROWS):
        stop = min(start + _FOLD_ROWS, exposures.num_users)
        result[start:stop] = folder.fold(exposures.by_user, start, stop)
    return result


def _manifest(
    dataset: Dataset, factors: ExposureFactors, found: TrainingExposures, *, seed: int, tau: float, basis: str
) -> FactorsManifest:
    return FactorsManifest(
        dataset=dataset.fingerprint,
        basis=basis,
        rotation=_flat(factors.rotation),
        seed=seed,
        tau=tau,
        tau_users=factors.tau_users,
        tau_items=factors.tau_items,
        singular_values=tuple(factors.singular_values.tolist()),
        item_centre=tuple(factors.item_centre.tolist()),
        user_centre=tuple(factors.user_centre.tolist()),
        user_scales=tuple(factors.user_scales.tolist()),
        item_scales=tuple(factors.item_scales.tolist()),
        energy=factors.energy,
        null_edge=factors.null_edge,
        exposures=found.counts,
        left_out=found.left_out,
    )
