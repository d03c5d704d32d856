"""What a run's method learns from beside labelled rows: which unlabelled pairs are drawn."""

from __future__ import annotations

from distributed_il.core.config import TrainConfig
from distributed_il.core.method_config import OrdinalConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.logged_pairs import LoggedPairSampler
from distributed_il.data.sampling import UnlabelledSampler

PairSampler = UnlabelledSampler | LoggedPairSampler


def pair_sampler(config: TrainConfig, dataset: Dataset) -> PairSampler:
    """Returns the sampler that the method asks for, or else that of the section `unlabelled`.

    Raises:
        UserError: It draws logged pairs, and the dataset has none.
    """
    if isinstance(config.method, OrdinalConfig):
        return LoggedPairSampler(dataset.logged(), seed=config.run.seed, rate=config.method.pairs)
    wanted = config.unlabelled
    return UnlabelledSampler(
        dataset.observed(),
        dataset.num_items,
        seed=config.run.seed,
        source=wanted.source,
        logged=None if wanted.source == "sampled" else dataset.logged(),
        rate=wanted.rate,
    )
