"""A backbone of one's own: the logit is a learned bias less the distance of user and item.

Named as `model.backbone: own_backbone:Distance`.
"""

import torch
from torch import Tensor, nn

from distributed_il.models.backbones import Backbone


class Distance(Backbone):
    """f(u, i; θ) = b − ‖p_u − q_i‖²."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        """Returns the logits [B] of user rows [B, user_dim] and item rows [B, item_dim]."""
        return self.bias - (user_rows - item_rows).square().sum(dim=1)
