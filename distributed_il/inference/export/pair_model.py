"""A served model as one torch module that maps dense ids to logits and scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from distributed_il.inference.model import ServedModel

INPUTS = ("user_ids", "item_ids")
OUTPUTS = ("logits", "scores")
CODES = ("user_codes", "item_codes")
"""Names of the side features' codes, where the tower is given such."""


class PairModel(nn.Module):
    """Tables and tower in one, to be exported: (user_ids, item_ids) → (logits, scores)."""

    user_codes: Tensor
    item_codes: Tensor

    def __init__(self, model: ServedModel) -> None:
        """Takes the weights as they are, without a copy; side features are small and copied."""
        super().__init__()
        self.tower = model.backbone
        self.users = nn.Embedding.from_pretrained(torch.from_numpy(model.users))
        self.items = nn.Embedding.from_pretrained(torch.from_numpy(model.items))
        self._columns = [codes.shape[1] for codes in model.codes]
        for name, codes in zip(CODES, model.codes, strict=False):
            # Where one side alone has features: torch can't save a tensor without elements.
            whole = codes.copy() if codes.size else np.zeros((len(codes), 1), codes.dtype)
            self.register_buffer(name, torch.from_numpy(whole))
        self._output = model.output

    def forward(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Scores pairs of dense ids, int64 [B]: raw logits x and calibrated scores ŷ, see `Output`, each [B]."""
        codes: list[Tensor] = []
        if self._columns:
            of_users, of_items = self._columns
            codes = [self.user_codes[user_ids][:, :of_users], self.item_codes[item_ids][:, :of_items]]
        logits = self.tower(self.users(user_ids), self.items(item_ids), *codes)
        served = self._output.served(logits).to(logits.dtype)
        calibration = self._output.calibration
        return logits, torch.sigmoid(calibration.slope * served + calibration.intercept)


def trace(module: PairModel) -> ExportedProgram:
    """Traces the module to a program that takes any number of pairs, none too."""
    pairs = torch.export.Dim("pairs")
    ids = torch.zeros(2, dtype=torch.int64)
    return torch.export.export(module.eval(), (ids, ids.clone()), dynamic_shapes=({0: pairs}, {0: pairs}))
