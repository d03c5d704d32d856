"""What a run's method learns from beside labelled rows: which unlabelled pairs are drawn."""

from __future__ import annotations

from distributed_il.core.config import TrainConfig
from distributed_il.core.method_config import NoneConfig, OrdinalConfig, ReweightedConfig, TruncatedConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.logged_pairs import LoggedPairSampler
from distributed_il.data.sampling import UnlabelledSampler

PairSampler = UnlabelledSampler | LoggedPairSampler
SAMPLING = (NoneConfig, TruncatedConfig, ReweightedConfig)
"""Methods that have `negatives`."""


def has_all_positive(config: TrainConfig) -> bool:
    """Returns whether a run takes every labelled training row for a positive, the setting of the WSDM 2021 paper."""
    return isinstance(config.method, SAMPLING) and config.method.negatives == "sampled_all_positive"


def pair_sampler(config: TrainConfig, dataset: Dataset) -> PairSampler:
    """Returns the sampler that the method asks for, or else that of the section `unlabelled`.

    Raises:
        UserError: It draws logged pairs, and the dataset has none.
    """
    if isinstance(config.method, OrdinalConfig):
        return LoggedPairSampler(dataset.logged(), seed=config.run.seed, rate=config.method.pairs)
    wanted, observed = config.unlabelled, dataset.observed()
    if has_all_positive(config) and (logged := dataset.logged()) is not None:
        observed = observed.union(logged)  # what is sampled is a negative, and interactions are none
    return UnlabelledSampler(
        observed,
        dataset.num_items,
        seed=config.run.seed,
        source=wanted.source,
        logged=None if wanted.source == "sampled" else dataset.logged(),
        rate=wanted.rate,
    )
