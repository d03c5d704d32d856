"""What a method may have beside what it must."""

from __future__ import annotations

import torch
from torch import nn

from distributed_il.core.config import ModelConfig
from distributed_il.core.method_config import NoneConfig
from distributed_il.methods import make_method
from distributed_il.methods.protocol import half_width_of
from distributed_il.models.backbones import load_backbone
from distributed_il.models.tower import Extra, Tower


def test_only_a_method_with_cut_points_has_a_half_width() -> None:
    backbone = load_backbone(ModelConfig(backbone="bias_mf"), seed=0)
    tower = Tower(backbone, dtype=torch.float64, device=torch.device("cpu"), extras={"width": Extra((1,))})
    method = make_method(NoneConfig())
    assert half_width_of(method, tower) is None
    method.half_width = lambda tower: nn.functional.softplus(tower.extra("width"))  # pyright: ignore
    assert half_width_of(method, tower) == torch.log(torch.tensor(2.0, dtype=torch.float64)).item()
