"""Side features: the code that a user or an item has in each categorical column, beside its embedding row."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Codes = tuple[Tensor, ...]
"""Codes of the users and of the items of some pairs, integers [B, Σ widths] each; nothing where none are used."""
UNKNOWN = 0
"""Code of a value that was not given."""


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """The codes of all users and items; 0 stands for unknown, k for the k-th value of a column.

    A column in which some have several values has so many codes that all find room, ascending; 0 follows the last one.

    Attributes:
        users: Integers [num_users, Σ widths], which may be mapped from a file; none where users have no features.
        items: [num_items, Σ widths], likewise.
        user_values: Distinct values of each column of `users`: its codes go up to that number.
        item_values: The same for `items`.
        user_widths: Codes of each column of `users`; empty where each has one.
        item_widths: The same for `items`.
    """

    users: Tensor
    items: Tensor
    user_values: tuple[int, ...]
    item_values: tuple[int, ...]
    user_widths: tuple[int, ...] = ()
    item_widths: tuple[int, ...] = ()

    def to(self, device: torch.device) -> Features:
        """Moves the codes to a device."""
        return replace(self, users=self.users.to(device), items=self.items.to(device))

    def codes(self, user_ids: Tensor, item_ids: Tensor) -> Codes:
        """Gathers the codes of pairs of `user_ids` and `item_ids`, int64 [B] each."""
        return self.users.index_select(0, user_ids), self.items.index_select(0, item_ids)
