"""Backbones: what turns gathered embedding rows into logits."""

from distributed_il.models.backbone import Backbone, find_backbone, load_backbone
from distributed_il.models.bias_mf import BiasMF
from distributed_il.models.deepfm import DeepFM
from distributed_il.models.gmf import GMF
from distributed_il.models.mlp import MLP
from distributed_il.models.neumf import NeuMF

__all__ = ["GMF", "MLP", "Backbone", "BiasMF", "DeepFM", "NeuMF", "find_backbone", "load_backbone"]
