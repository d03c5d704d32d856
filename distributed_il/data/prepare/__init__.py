"""Raw feedback, or none at all, becomes a dataset."""

from distributed_il.data.prepare.build.options import BuildOptions, Policies
from distributed_il.data.prepare.build.pipeline import build_dataset
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.dataset_factors import read_summary
from distributed_il.data.prepare.preparation import prepare
from distributed_il.data.prepare.summary import factors_text, summary_text

__all__ = [
    "BuildOptions",
    "Policies",
    "PrepareConfig",
    "build_dataset",
    "factors_text",
    "prepare",
    "read_summary",
    "summary_text",
]
