"""Backbones: what turns gathered embedding rows into logits."""

from distributed_il.models.backbone import Backbone, load_backbone
from distributed_il.models.gmf import GMF
from distributed_il.models.neumf import NeuMF

__all__ = ["GMF", "Backbone", "NeuMF", "load_backbone"]
