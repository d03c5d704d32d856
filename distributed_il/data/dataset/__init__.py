"""Prepared datasets: a directory of sharded Parquet that describes itself."""

from distributed_il.core.files import filesystem
from distributed_il.data.dataset.factors import FactorsManifest, StoredFactors, write_factors
from distributed_il.data.dataset.manifest import (
    SPLITS,
    UNCLEAR,
    WEIGHT,
    Entity,
    FeatureColumn,
    LaneFile,
    Manifest,
    Reading,
    SourceFile,
    Split,
    TableFile,
)
from distributed_il.data.dataset.reader import Activity, Block, Dataset
from distributed_il.data.dataset.reading import BlockReader, LocalBlockReader
from distributed_il.data.dataset.writer import DatasetWriter

__all__ = [
    "SPLITS",
    "UNCLEAR",
    "WEIGHT",
    "Activity",
    "Block",
    "BlockReader",
    "Dataset",
    "DatasetWriter",
    "Entity",
    "FactorsManifest",
    "FeatureColumn",
    "LaneFile",
    "LocalBlockReader",
    "Manifest",
    "Reading",
    "SourceFile",
    "Split",
    "StoredFactors",
    "TableFile",
    "filesystem",
    "write_factors",
]
