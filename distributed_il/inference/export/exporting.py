"""Writes a model as files that need nothing of this package, and checks each against the checkpoint.

OUTPUT/model.pt2                      a torch.export program: dense user ids, item ids → logits, scores
OUTPUT/model.onnx                     the same as ONNX; above 2 GB its weights lie beside it
OUTPUT/model.npz, score.py            arrays with the vocabularies, and a program of NumPy alone that scores by them
OUTPUT/users.parquet, items.parquet   place k is dense id k: external id, whether it was trained; the mean of an item
OUTPUT/export.json                    what it was made from, and how far each file is from the checkpoint
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from distributed_il.core.errors import UserError
from distributed_il.core.files import StagedDirectory, is_local, to_json
from distributed_il.inference.config import ExportConfig
from distributed_il.inference.export import numpy_model
from distributed_il.inference.export.onnx_file import load_onnx, save_onnx
from distributed_il.inference.export.pair_model import CODES, PairModel, trace
from distributed_il.inference.model import ServedModel, load_served_model
from distributed_il.inference.trained_run import TrainedRun

CHECKED_PAIRS = 1000
TOLERANCE = 1e-4
"""How far a file's logits may be from the checkpoint's, as a share of the largest of them or of 1."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

LogitsOf = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]


def export(config: ExportConfig) -> dict[str, Any]:
    """Exports a model; returns what export.json holds, with the largest difference of logits by file.

    Raises:
        UserError: There is no such model, or the output is taken or not local.
        RuntimeError: A file does not give the checkpoint's logits.
    """
    model, run = load_served_model(config.run_dir, config.checkpoint, config.data, allow_code=config.allow_code)
    staging = StagedDirectory(config.output)
    try:
        if not is_local(staging.filesystem):
            raise UserError(f"{config.output} is not local; export to a local directory and copy that")
        report = _write(Path(staging.building), model, run)
        staging.publish()
    except BaseException:
        staging.discard()
        raise
    return report


def _write(place: Path, model: ServedModel, run: TrainedRun) -> dict[str, Any]:
    _write_vocabularies(place, model, run)
    _write_arrays(place / "model.npz", model, run)
    program = trace(PairModel(model))
    torch.export.save(program, place / "model.pt2")
    written = {"model.pt2": _torch_logits(torch.export.load(place / "model.pt2"))}
    if all(importlib.util.find_spec(name) for name in ONNX_PACKAGES):
        save_onnx(program, place / "model.onnx")
        written["model.onnx"] = load_onnx(place / "model.onnx")
    if run.config.model.backbone in numpy_model.BACKBONES:
        shutil.copyfile(numpy_model.__file__, place / "score.py")
        written["model.npz with score.py"] = numpy_model.NumpyModel(place / "model.npz").logits
    report = {
        **run.identity(),
        "backbone": run.config.model.backbone,
        "checked_pairs": CHECKED_PAIRS,
        "largest_difference": _differences(model, written),
    }
    (place / "export.json").write_text(to_json(report))
    return report


def _differences(model: ServedModel, written: Mapping[str, LogitsOf]) -> dict[str, float]:
    """Returns the largest difference of each file's logits from the checkpoint's, over random pairs."""
    generator = np.random.default_rng(0)
    users, items = (generator.integers(0, len(table), CHECKED_PAIRS) for table in (model.users, model.items))
    expected = model.logits(users, items).numpy()
    found = {name: float(np.abs(logits(users, items) - expected).max()) for name, logits in written.items()}
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    wrong = {name: difference for name, difference in found.items() if not difference <= allowed}
    if wrong:
        raise RuntimeError(f"logits differ from the checkpoint's by more than {allowed:.1e}: {wrong}")
    return found


def _torch_logits(program: ExportedProgram) -> LogitsOf:
    module = program.module()
    return lambda users, items: module(torch.from_numpy(users), torch.from_numpy(items))[0].numpy()


def _write_vocabularies(place: Path, model: ServedModel, run: TrainedRun) -> None:
    users = {"external_id": run.dataset.vocabulary("users"), "trained": pa.array(model.known.users)}
    items = {"external_id": run.dataset.vocabulary("items"), "trained": pa.array(model.known.items)}
    means = model.output.calibrated(torch.from_numpy(model.priors.items)).numpy()
    items["mean"] = pa.array(1 / (1 + np.exp(-means)))
    pq.write_table(pa.table(users), place / "users.parquet")
    pq.write_table(pa.table(items), place / "items.parquet")


def _write_arrays(path: Path, model: ServedModel, run: TrainedRun) -> None:
    arrays: dict[str, Any] = {
        "backbone": run.config.model.backbone,
        "users": model.users,
        "items": model.items,
        "user_trained": model.known.users,
        "item_trained": model.known.items,
        "item_prior": model.priors.items,
        "overall_prior": model.priors.overall,
        "calibration": np.array([model.output.calibration.slope, model.output.calibration.intercept]),
        "user_ids": _ids(run.dataset.vocabulary("users")),
        "item_ids": _ids(run.dataset.vocabulary("items")),
    }
    if model.output.half_width is not None:
        arrays["half_width"] = model.output.half_width
    arrays |= dict(zip(CODES, model.codes, strict=False))
    for entity, columns in run.dataset.manifest.features.items() if model.codes else ():
        widths = [column.width for column in columns]
        arrays |= {f"{entity.removesuffix('s')}_widths": np.array(widths)} if max(widths) > 1 else {}
    arrays |= {f"tower.{name}": tensor.numpy() for name, tensor in model.backbone.state_dict().items()}
    np.savez(path, **arrays)


def _ids(ids: pa.Array) -> NDArray[Any]:
    """Returns ids as NumPy stores them without pickle: text as fixed-width Unicode."""
    return ids.to_numpy() if pa.types.is_integer(ids.type) else np.array(ids.to_pylist(), dtype=np.str_)
