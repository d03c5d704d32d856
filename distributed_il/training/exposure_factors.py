"""What a model takes of a dataset's exposure factors, and whether a model of another dataset takes the same."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.config import ModelConfig, TrainConfig, completed
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.exposure.factors import CLIP
from distributed_il.models.embedding.factored import Factors, RowFactors

_BASIS = ("singular_values", "item_centre", "user_centre", "user_scales", "item_scales")


def resolve_factors(
    config: TrainConfig,
    dataset: Dataset,
    *,
    resumed: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> TrainConfig:
    """Returns a run's configuration with `model.factors` as a number.

    Args:
        config: The configuration.
        dataset: What it trains on.
        resumed: The manifest of the run's own last checkpoint, if it has one.
        origin: The manifest of the checkpoint that a new run starts from, if it does.
        note: Told why `auto` comes to none.

    Raises:
        UserError: More columns are asked for than the dataset has, a file of its factors is damaged, or rows are to be
            dropped without factors.
    """
    model = config.model
    if model.factors == "auto":
        columns = _automatic(dataset, resumed, origin, note)
        if model.row_dropout and not columns:
            raise UserError(
                f"model.row_dropout is {model.row_dropout} and model.factors auto comes to 0 on {dataset.path}, so "
                "that nothing would be left of a dropped row; set model.row_dropout to 0"
            )
        return dataclasses.replace(config, model=dataclasses.replace(model, factors=columns))
    stored = dataset.factors(factors_named_by(resumed)) if model.factors else None
    if model.factors and stored is None:
        raise UserError(
            f"model.factors is {model.factors} and {dataset.path} has no exposure factors; {_making(dataset)}"
        )
    if stored is not None and model.factors > stored.columns:
        raise UserError(
            f"model.factors is {model.factors} and {dataset.path} has {stored.columns} columns; give as many or fewer, "
            f"or compute more: distributed-il prepare --factors_only --factors={model.factors} --output={dataset.path}"
        )
    return config


def factors_named_by(manifest: Mapping[str, Any] | None) -> str | None:
    """Returns the fingerprint of the factors that a checkpoint was trained with; None where it names none."""
    return ((manifest or {}).get("factors") or {}).get("fingerprint")


def factors_for(
    model: ModelConfig, dataset: Dataset, fingerprint: str | None = None, *, device: torch.device
) -> Factors | None:
    """Returns a model's factors; None where it takes none.

    Args:
        model: With `factors` as a number.
        dataset: What it trains on, or was trained on.
        fingerprint: Which factors, as a checkpoint names them; None takes those in use.
        device: Where rows are gathered.

    Raises:
        UserError: A file of the factors is missing or damaged.
    """
    stored = dataset.factors(fingerprint) if model.factors else None
    if stored is None:
        return None
    assert model.factors != "auto"
    dtype, columns = getattr(torch, model.dtype), slice(model.factors)

    def side(raw: NDArray[np.float32], scales: NDArray[np.float64]) -> RowFactors:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
            z = torch.from_numpy(raw[:, columns]).to(device)
        # A column beyond the rank of the exposures is 0 throughout.
        deviation = np.where(scales[columns] > 0, scales[columns], 1.0)
        return RowFactors(z, torch.tensor(deviation, dtype=dtype, device=device), CLIP, model.factor_scale)

    users, items = side(stored.z_users, stored.user_scales), side(stored.z_items, stored.item_scales)
    return Factors(users, items, model.factor_decay)


def about_factors(
    model: ModelConfig, dataset: Dataset, fingerprint: str | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Identifies a model's factors for its checkpoints.

    Returns:
        What the manifest says of them, and the basis from which users and items are folded in, as arrays; both empty
        where the model takes none.
    """
    stored = dataset.factors(fingerprint) if model.factors else None
    if stored is None:
        return {}, {}
    assert model.factors != "auto"
    # Of aligned factors every column is made of all vectors.
    columns = model.factors if stored.rotation is None else stored.columns
    basis: dict[str, NDArray[Any]] = {"basis.item_vectors": stored.x_items[:, :columns]}
    basis |= {f"basis.{name}": np.array(getattr(stored.manifest, name))[:columns] for name in _BASIS}
    if stored.rotation is not None:
        basis["basis.rotation"] = stored.rotation[:, : model.factors]
    taus = {"tau_users": stored.manifest.tau_users, "tau_items": stored.manifest.tau_items}
    return {"fingerprint": stored.fingerprint, "basis": stored.basis_fingerprint, **taus}, basis


def check_grown_factors(model: ModelConfig, dataset: Dataset, manifest: Mapping[str, Any]) -> None:
    """Refuses a warm start from a model whose factors are gone or have another basis: its maps would mean nothing.

    Raises:
        UserError: There are no factors, the bases differ, or a file of the factors is damaged.
    """
    before, stored = manifest.get("factors"), dataset.factors() if model.factors else None
    if before is None or not model.factors or (stored and stored.basis_fingerprint == before["basis"]):
        return
    found = f"exposure factors of another basis ({stored.basis_fingerprint[:12]})" if stored else "no exposure factors"
    raise UserError(
        f"{dataset.path} has {found}, and checkpoint {manifest['place']} was trained with those of basis "
        f"{before['basis'][:12]}; make the dataset with `distributed-il prepare --append_to` from the one of that run, "
        "which folds new ids into its factors, or train without run.start_from (--from)"
    )


def _automatic(
    dataset: Dataset,
    resumed: Mapping[str, Any] | None,
    origin: Mapping[str, Any] | None,
    note: Callable[[str], None],
) -> int:
    """Decides what `auto` means."""
    if resumed is not None:
        return _columns_of(resumed)
    if origin is not None and (before := _columns_of(origin)):
        return before
    stored = dataset.factors()
    if stored is None:
        note(f"the dataset has no exposure factors, so the model trains without; {_making(dataset)}")
        return 0
    if not stored.has_structure:
        note(
            "trained without exposure factors: who watched what carries no structure here (first singular value "
            f"{stored.singular_values[0]:.3f}, by chance {stored.manifest.null_edge:.3f})"
        )
        return 0
    return stored.columns


def _columns_of(manifest: Mapping[str, Any]) -> int:
    return completed(manifest["config"])["model"]["factors"]


def _making(dataset: Dataset) -> str:
    return f"to make them: distributed-il prepare --factors_only --output={dataset.path}"
