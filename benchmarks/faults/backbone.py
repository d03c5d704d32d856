"""The backbone of the runs that are to fail: GMF, whose import posts the sentry in each worker."""

from __future__ import annotations

from benchmarks.faults.sentry import post
from distributed_il.models.backbones import GMF


class WatchedGMF(GMF):
    """Named in a configuration as `benchmarks.faults.backbone:WatchedGMF`."""


post()
