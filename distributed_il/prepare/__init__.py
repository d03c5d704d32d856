"""Raw feedback, or none at all, becomes a dataset."""

from distributed_il.prepare.build_options import BuildOptions, Progress
from distributed_il.prepare.pipeline import build_dataset
from distributed_il.prepare.preparation import prepare
from distributed_il.prepare.prepare_config import PrepareConfig
from distributed_il.prepare.resolve import Policies
from distributed_il.prepare.summary import summary

__all__ = ["BuildOptions", "Policies", "PrepareConfig", "Progress", "build_dataset", "prepare", "summary"]
