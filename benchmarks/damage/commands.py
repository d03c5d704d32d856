"""What each command says of a scene, in this process and without Ray: the same text for the same result."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.damage.scene import DATA, MORE, RUN, STOPPED, features_of, train
from distributed_il.data.dataset import Dataset
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.inference.choice import Choice
from distributed_il.inference.config import EvaluateConfig, ExportConfig
from distributed_il.inference.evaluate import evaluate
from distributed_il.inference.export import export
from distributed_il.inference.model import load_served_model
from distributed_il.inference.pair_results import PairResults
from distributed_il.inference.pair_sources import SplitPairs
from distributed_il.inference.recommendations import Recommendations
from distributed_il.inference.result_parts import Work
from distributed_il.report.run_page import ReportConfig, write_report

Command = Callable[[Path, Path], str]
"""Takes a scene and a directory for what it writes."""


def _evaluate(root: Path, _: Path) -> str:
    return _text(evaluate(EvaluateConfig(run_dir=str(root / RUN), data=str(root / DATA), checkpoint="last")))


def _pairs(root: Path, split: str, *, weights: bool) -> str:
    model, run = load_served_model(str(root / RUN), "best", str(root / DATA))
    users, items = IdLookup("user", run.dataset.vocabulary("users")), IdLookup("item", run.dataset.vocabulary("items"))
    return _made(PairResults(model, users, items, SplitPairs(run.dataset, split), weights, run.identity()))


def _score(root: Path, _: Path) -> str:
    return _pairs(root, "test", weights=False)


def _annotate(root: Path, _: Path) -> str:
    return _pairs(root, "unclear", weights=True)


def _recommend(root: Path, _: Path) -> str:
    model, run = load_served_model(str(root / RUN), "best", str(root / DATA))
    users, items = IdLookup("user", run.dataset.vocabulary("users")), IdLookup("item", run.dataset.vocabulary("items"))
    seen = (run.dataset.observed(), run.dataset.logged())
    pairs = tuple(index for index in seen if index is not None)
    return _made(Recommendations(model, users, items, users.ids, 5, Choice(pairs), {}))


def _export(root: Path, out: Path) -> str:
    export(ExportConfig(run_dir=str(root / RUN), data=str(root / DATA), output=str(out / "export")))
    with np.load(out / "export" / "model.npz", allow_pickle=False) as arrays:
        return _text({name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in arrays})


def _report(root: Path, out: Path) -> str:
    write_report(ReportConfig(output=str(out / "page.html"), data=str(root / DATA)), [str(root / RUN)])
    page = (out / "page.html").read_text().replace(str(root), "")
    return re.sub(r"<footer>.*</footer>", "", page)  # it says when the page was made


def _resume(root: Path, out: Path) -> str:
    shutil.copytree(root / STOPPED, out / "resumed")
    return _text(train(root / DATA, out / "resumed", rounds=2, seed=0))


def _start_from(root: Path, out: Path) -> str:
    return _text(train(root / DATA, out / "started", rounds=1, seed=5, start_from=str(root / RUN)))


def _append(root: Path, out: Path) -> str:
    config = PrepareConfig(
        source=str(root / MORE),
        output=str(out / "grown"),
        append_to=str(root / DATA),
        lanes=2,
        name="log",
        new_ids=True,
        **features_of(root),
    )
    prepare(config)
    return Dataset.open(config.output).fingerprint


def _factors_only(root: Path, out: Path) -> str:
    shutil.copytree(root / DATA, out / DATA)
    prepare(PrepareConfig(output=str(out / DATA), factors_only=True, factors=3))
    return _text(json.loads((out / DATA / "summary.json").read_text()))


def _made(work: Work) -> str:
    return _text([table.to_pylist() for part in range(len(work.rows)) for table, _ in work.tables(part)])


def _text(values: Any) -> str:
    return json.dumps(values, sort_keys=True, default=str)


OF_DATA: dict[str, Command] = {
    "evaluate": _evaluate,
    "score": _score,
    "annotate": _annotate,
    "recommend": _recommend,
    "report": _report,
    "resume": _resume,
    "from": _start_from,
    "append": _append,
    "factors_only": _factors_only,
    "export": _export,
}
"""Those that read a dataset: all."""
OF_RUN = ("evaluate", "score", "annotate", "recommend", "report", "from", "export")
OF_STOPPED = ("resume",)
RARE = {"export": 40, "report": 12, "resume": 3, "from": 3}
"""Commands that take seconds, and how many times rarer they are tried; they read by the same doors as the others."""


def commands_for(path: Path, rng: np.random.Generator) -> tuple[str, ...]:
    """Returns the commands that may read a file, by its path in a scene, and rare ones when their turn is drawn."""
    reading = {DATA: tuple(OF_DATA), RUN: OF_RUN, STOPPED: OF_STOPPED}[path.parts[0]]
    drawn = rng.random(len(reading))
    often = len(reading) == 1
    return tuple(name for name, draw in zip(reading, drawn, strict=True) if often or draw * RARE.get(name, 1) < 1)
