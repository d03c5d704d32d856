"""Backbones: what turns gathered embedding rows into logits."""

from distributed_il.models.backbones.backbone import Backbone, find_backbone, load_backbone
from distributed_il.models.backbones.bias_mf import BiasMF
from distributed_il.models.backbones.deepfm import DeepFM
from distributed_il.models.backbones.gmf import GMF
from distributed_il.models.backbones.mlp import MLP
from distributed_il.models.backbones.neumf import NeuMF

__all__ = ["GMF", "MLP", "Backbone", "BiasMF", "DeepFM", "NeuMF", "find_backbone", "load_backbone"]
