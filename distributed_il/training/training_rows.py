"""The rows and pairs that a run trains on, in the batches of one rank."""

from __future__ import annotations

import torch

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import BlockReader, Dataset
from distributed_il.data.loading.loader import BatchLayout, TrainingRows
from distributed_il.data.loading.windows import FactorLookup
from distributed_il.methods.protocol import Method
from distributed_il.models.learner import Learner
from distributed_il.training.pair_sampler import pair_sampler


def training_rows(
    config: TrainConfig, dataset: Dataset, *, reader: BlockReader, method: Method, learner: Learner
) -> TrainingRows:
    """Opens a rank's part of the training rows; nothing is read yet.

    Args:
        config: Says how batches are made and pairs drawn.
        dataset: What the run trains on.
        reader: Reads its rows.
        method: Says whether it takes pairs, and the share of its training-test.
        learner: Its ranks are those that share the rows, and batches are sent to its device.

    Raises:
        UserError: The method learns from training-test, which gets no row.
    """
    layout = BatchLayout(
        seed=config.run.seed,
        test_share=method.test_share,
        global_batch=config.run.global_batch_size,
        rank=learner.collectives.rank,
        world_size=learner.collectives.world_size,
    )
    with_pairs = any(phase.unlabelled for phase in method.phases)
    rows = TrainingRows(
        dataset,
        reader,
        pair_sampler(config, dataset) if with_pairs else None,
        layout,
        dtype=getattr(torch, config.model.dtype),
        device=learner.device,
        factors=_factors_ahead(learner),
    )
    if layout.test_share and not rows.schedule("test").steps:
        raise UserError(
            f"method.test_share {layout.test_share} draws none of the {dataset.rows('train'):,} training rows of "
            f"{dataset.path}, so that nothing would be learned from training-test; give a larger share"
        )
    return rows


def _factors_ahead(learner: Learner) -> tuple[FactorLookup, FactorLookup] | None:
    """Says how exposure factors are gathered ahead; a GPU gathers them faster than they could be sent there."""
    factors = learner.factors
    return None if factors is None or learner.device.type == "cuda" else (factors[0].of, factors[1].of)
