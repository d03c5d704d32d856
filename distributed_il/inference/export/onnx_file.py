"""A program as an ONNX file; needs the extra `export`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from distributed_il.inference.export.pair_model import INPUTS, OUTPUTS

EXTERNAL_BYTES = 1 << 30
"""Weights above this size lie in a file of their own: ONNX holds no more than 2 GB itself."""


def save_onnx(program: ExportedProgram, path: Path) -> None:
    """Writes a program of inputs `user_ids` and `item_ids` and outputs `logits` and `scores`.

    Large weights go to `PATH.data`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own use of what it has deprecated
        written = torch.onnx.export(program, input_names=INPUTS, output_names=OUTPUTS, dynamo=True, verbose=False)
    assert written is not None
    written.save(path, external_data=size > EXTERNAL_BYTES)


def load_onnx(path: Path) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]:
    """Loads an ONNX file as a function of user ids and item ids that returns logits."""
    from onnxruntime import InferenceSession  # an extra

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda users, items: np.asarray(session.run(["logits"], dict(zip(INPUTS, (users, items), strict=True)))[0])
