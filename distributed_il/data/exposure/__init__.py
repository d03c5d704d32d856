"""Exposure factors: what is known of users and items by who was shown what, labels aside. NumPy and torch alone."""

from distributed_il.data.exposure.alignment import aligned
from distributed_il.data.exposure.computation import compute_factors, grown, null_edge
from distributed_il.data.exposure.exposures import Exposures, Neighbours, transpose
from distributed_il.data.exposure.factors import CLIP, ExposureFactors, ItemFolder, UserFolder

__all__ = [
    "CLIP",
    "ExposureFactors",
    "Exposures",
    "ItemFolder",
    "Neighbours",
    "UserFolder",
    "aligned",
    "compute_factors",
    "grown",
    "null_edge",
    "transpose",
]
