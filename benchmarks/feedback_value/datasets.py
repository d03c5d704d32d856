"""Prepared datasets of a setting, with the control whose exposures were dealt anew."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.feedback_value.kinds import Kind
from benchmarks.feedback_value.movielens_logs import Pairs
from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, Entity, write_factors
from distributed_il.data.exposure import compute_factors
from distributed_il.data.exposure.dealing import deal_anew
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.build.training_exposures import training_exposures
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate

PROBES = "probes.npz"
_DATASET, _SHUFFLED, _FINISHED = "dataset", "shuffled", "finished.json"
_DEAL_SEED = 1
"""Added to a dataset's seed, by which the null edge is dealt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A dataset to make."""

    kind: Kind
    source: str
    """Directory of MovieLens-1M."""
    seed: int
    place: Path
    """Directory of the dataset and of what belongs to it."""
    shuffled: bool
    """Whether to make the control, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What there is."""

    path: str
    shuffled: str
    """The same dataset with factors of exposures that were dealt anew; empty where there is none."""
    fingerprint: str
    facts: dict[str, float]
    """Rows, and the spectrum of its exposures."""


def make(job: Job) -> Made:
    """Makes a dataset, or finds it made.

    Args:
        job: Which.

    Raises:
        UserError: A pair of valid or test is an exposure of training.
    """
    path, control = job.kind.data or str(job.place / _DATASET), job.place / _SHUFFLED
    if not job.kind.data:
        _make_once(job, path)
    dataset = Dataset.open(path)
    stored = dataset.factors()
    if stored is not None and job.kind.make_log is not None and any(stored.manifest.left_out.values()):
        raise UserError(f"{path}: of the training exposures {stored.manifest.left_out} stand in valid or test")
    wanted = job.shuffled and stored is not None
    if wanted and not control.exists():
        _shuffle(dataset, control)
    facts: dict[str, float] = {f"{split}_rows": dataset.rows(split) for split in ("train", "unclear", "valid", "test")}
    if stored is not None:
        facts |= {"factors": stored.columns, "first_singular_value": float(stored.singular_values[0])}
        facts |= {"null_edge": stored.manifest.null_edge}
    shuffled = str(control) if wanted else ""
    return Made(path=path, shuffled=shuffled, fingerprint=dataset.fingerprint, facts=facts)


def _make_once(job: Job, path: str) -> None:
    kind, finished = job.kind, job.place / _FINISHED
    asked = json.dumps({"source": job.source, "share": kind.share, "simulated": kind.simulated, "seed": job.seed})
    if finished.exists() and finished.read_text() == asked:
        return
    shutil.rmtree(job.place, ignore_errors=True)
    if kind.simulated is not None:
        job.place.mkdir(parents=True)
        simulate(SimulateConfig(output=path, seed=job.seed, **kind.simulated))
        if Dataset.open(path).factors() is None:  # of a policy without taste none are stored
            prepare(PrepareConfig(output=path, factors_only=True))
    else:
        assert kind.make_log is not None
        log = kind.make_log(job.source, kind.share, job.seed)
        log.write(job.place / "log")
        prepare(PrepareConfig(source=f"{job.place}/log", output=path, rule="binary", seed=job.seed, name=kind.name))
        shutil.rmtree(job.place / "log")
        _write_probes(Dataset.open(path), log.probes, job.place / PROBES)
    finished.write_text(asked)


def read_probes(data: str) -> dict[str, Pairs]:
    """The probes beside a dataset, with its own ids; none where there are none.

    Args:
        data: Its path.
    """
    place = Path(data).parent / PROBES
    if not place.exists():
        return {}
    with np.load(place) as arrays:
        return {name: Pairs(*columns) for name, columns in arrays.items()}


def _write_probes(dataset: Dataset, probes: Mapping[str, Pairs], place: Path) -> None:
    """Writes probes as int64 [3, n] of users, items and labels, under the dataset's ids."""

    def dense(ids: NDArray[np.int64], entity: Entity) -> NDArray[np.int64]:
        found = pc.index_in(pa.array(ids), dataset.vocabulary(entity).cast(pa.int64()))
        return found.to_numpy(zero_copy_only=False).astype(np.int64)

    arrays = {
        name: np.stack((dense(pairs.users, "users"), dense(pairs.items, "items"), pairs.labels))
        for name, pairs in probes.items()
    }
    np.savez(place, allow_pickle=False, **arrays)


def _shuffle(dataset: Dataset, place: Path) -> None:
    """Copies a dataset to another place and gives it there factors of exposures that were dealt anew.

    Columns, τ and degrees are those of its own factors: what differs is who watched what.
    """
    stored = dataset.factors()
    assert stored is not None
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as directory:
        scratch, copy = Path(directory), Path(directory) / "copy"
        shutil.copytree(Path(dataset.root).resolve(), copy)
        exposures = deal_anew(
            training_exposures(dataset, scratch).exposures, stored.manifest.seed + _DEAL_SEED, scratch
        )
        found = compute_factors(
            exposures, columns=stored.columns, tau=stored.manifest.tau, seed=stored.manifest.seed, scratch=scratch
        )
        arrays = {
            "z_users": found.user_folder().fold(exposures.by_user),
            "z_items": found.of_items(),
            "x_items": found.item_vectors,
        }
        vectors = ("singular_values", "item_centre", "user_centre", "user_scales", "item_scales")
        manifest = replace(
            stored.manifest,
            rotation=(),
            **{name: tuple(getattr(found, name).tolist()) for name in vectors},
            energy=found.energy,
            null_edge=found.null_edge,
        )
        write_factors(dataset.filesystem, str(copy), scratch, manifest, arrays)
        copy.rename(place)
