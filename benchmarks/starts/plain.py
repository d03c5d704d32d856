"""A pass over a dataset as anybody writes it with torch.distributed: dense embeddings, DDP, Adam, pyarrow.

torchrun --standalone --nproc_per_node=1 -m benchmarks.starts.plain DATASET
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.starts.stamp import stamp

BATCH_SIZE = 1024
WIDTH = 33


class Dense(nn.Module):
    """Matrix factorisation over dense embeddings."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, WIDTH), nn.Embedding(items, WIDTH)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns logits [B] of users [B] and items [B]."""
        return (self.users(users) * self.items(items)).sum(dim=1)


def main(data: str) -> None:
    """Trains one pass on this rank's share of the rows.

    Args:
        data: A prepared dataset.
    """
    dist.init_process_group("gloo")
    files = sorted(Path(data, "train").rglob("*.parquet"))[dist.get_rank() :: dist.get_world_size()]
    table = pq.read_table(files, columns=["user_id", "item_id", "label"])
    users, items, labels = (
        torch.from_numpy(table.column(name).to_numpy().copy()).long() for name in table.schema.names
    )
    sizes = torch.stack((users.max(), items.max()))
    dist.all_reduce(sizes, op=dist.ReduceOp.MAX)
    model = DistributedDataParallel(Dense(*(int(size) + 1 for size in sizes)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    stamp()
    for batch in torch.arange(len(users)).split(BATCH_SIZE):
        optimizer.zero_grad()
        logits = model(users[batch], items[batch])
        nn.functional.binary_cross_entropy_with_logits(logits, labels[batch].float()).backward()
        optimizer.step()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
