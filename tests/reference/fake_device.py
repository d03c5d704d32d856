"""A device that computes nothing and tells where a tensor of another device meets its own: no GPU needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

DEVICE = torch.device("meta")
"""Fake tensors of CUDA end a process whose torch has none; to fakes `meta` is a device like any other."""


@contextmanager
def fake_device(monkeypatch: pytest.MonkeyPatch) -> Generator[FakeTensorMode]:
    """Inside, tensors have shapes and devices alone; an operation on tensors of two devices raises an error."""
    # Copies of a fake tensor would be of another mode, and a module's own `to` swaps what a fake does not let go.
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda mode, _: mode, raising=False)
    monkeypatch.setattr(torch.nn.Module, "to", _move_module)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def on_device(value: Any, mode: FakeTensorMode) -> Any:
    """Brings the tensors of a record to the device.

    Args:
        value: A tensor, or a tuple, list or dataclass of values; anything else stays as it is.
        mode: From `fake_device`.
    """
    if isinstance(value, Tensor):
        return mode.from_tensor(value).to(DEVICE)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: on_device(getattr(value, name), mode) for name in fields})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(on_device(part, mode) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(on_device(part, mode) for part in value)
    return value


class FakeRanks:
    """Rank 0 of two, whose other rank sends what this one does, as far as shapes and devices go."""

    rank, world_size, seconds, sent_bytes = 0, 2, 0.0, 0

    def all_gather(self, tensor: Tensor) -> Tensor:
        return torch.stack([tensor, tensor])

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        return tensor.add_(tensor)

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int] | None = None) -> list[Tensor]:
        assert counts is not None
        assert len({part.device for part in parts}) == 1
        return [part.new_empty((count, *part.shape[1:])) for part, count in zip(parts, counts, strict=True)]

    def barrier(self) -> None:
        return


def _move_module(module: torch.nn.Module, *arguments: Any, **named: Any) -> torch.nn.Module:
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            setattr(part, name, torch.nn.Parameter(parameter.detach().to(*arguments, **named)))
    return module
