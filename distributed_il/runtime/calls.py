"""What Python programs call: `prepare`, `train` and `sweep`, with settings as keywords."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from distributed_il.core.config import SECTIONS, TrainConfig, config_from_dict
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import method_class
from distributed_il.core.typed import check_fields
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig
from distributed_il.data.prepare import prepare as build
from distributed_il.inference.frames import to_arrow
from distributed_il.training.feedback import default_method
from distributed_il.training.run_outputs import read_metrics

if TYPE_CHECKING:
    from distributed_il.runtime.sweep.outcome import Outcome

_NAMES = {"data": "data.path", "run_dir": "run.dir", "backbone": "model.backbone"}
"""Keywords that stand for a setting of another name."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was trained to its end.

    Attributes:
        dir: Its directory.
        metrics: `valid`, `test` and `trivial`, each by metric, `ranking` and `run`, as in metrics.json; of several
            seeds what seeds.json holds.
        history: The validation metrics of each round, and where there are several seeds, which it was.
    """

    dir: str
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


def prepare(source: Any, output: str, **settings: Any) -> Dataset:
    """Makes a dataset of feedback.

    Args:
        source: A pandas or Polars DataFrame, an Arrow table or a `ray.data.Dataset` with columns `user_id`, `item_id`
            and `label` (1, 0, or null or NaN where the feedback is unclear); or a path as of the command `prepare`.
        output: Directory of the dataset.
        settings: Those of the command `prepare`, such as `split="time"` or `user_column="visitor"`.

    Returns:
        The dataset.

    Raises:
        UserError: A setting or a value is wrong, with row and column; nothing is left of the dataset then.
    """
    from distributed_il.report.dataset_page import summary_page

    with tempfile.TemporaryDirectory(prefix="distributed-il-") as place:
        if not isinstance(source, str | Path):
            source = _written(source, place)
            settings.setdefault("name", Path(output).name)
        values: dict[str, Any] = {"source": str(source), "output": output, **settings}
        check_fields(PrepareConfig, values)
        build(PrepareConfig(**values), summary_page=summary_page, read_in_parallel=_read_in_parallel)
    return Dataset.open(output)


def train(config: TrainConfig | Mapping[str, Any] | None = None, **settings: Any) -> Run:
    """Trains a model on Ray, on this machine unless `RAY_ADDRESS` names a cluster; see the command `train`.

    Args:
        config: The settings as a whole, as sections of values; keywords replace single ones.
        settings: `data`, the dataset, and `run_dir`; and any setting by its name, such as `max_rounds=5`,
            `learning_rate=3e-3`, `backbone="gmf"`; or whole sections, such as `model={"factors": 16}`. `method` is a
            name or a section; its own settings go by their names, too.

    Returns:
        The run; the same call on its directory goes on where the last checkpoint was.

    Raises:
        UserError: A setting is unknown or wrong, or something else that the user can cure.
    """
    from distributed_il.runtime.opening import open_run

    made = _for_the_data(config_of(config, settings), config, settings)
    if made.run.seeds > 1:
        return _train_seeds(made)
    open_run(made)
    from distributed_il.runtime.early_start import start_run

    metrics = start_run(made)
    metrics = {name: value for name, value in metrics.items() if name != "history"}
    return Run(made.run.dir, metrics, _history(made.run.dir))


def _train_seeds(made: TrainConfig) -> Run:
    from distributed_il.runtime.seeds import train_seeds
    from distributed_il.training.seeds import over_seeds

    results = train_seeds(made)
    history = [{"seed": seed, **entry} for seed in results for entry in _history(f"{made.run.dir}/seed-{seed}")]
    return Run(made.run.dir, over_seeds(results), history)


def _history(run_dir: str) -> list[dict[str, Any]]:
    return (read_metrics(run_dir) or {}).get("history", [])


def sweep(
    space: str, config: TrainConfig | Mapping[str, Any] | None = None, *, trials: int = 20, **settings: Any
) -> Outcome:
    """Finds the best settings by a validation metric; see the command `sweep`.

    Args:
        space: YAML file of the search space.
        config: Settings that all trials share.
        trials: How many settings are tried.
        settings: As of `train`.

    Returns:
        The trials, the best one, and its results.

    Raises:
        UserError: As `train`.
    """
    from distributed_il.runtime.sweep.search import run_sweep
    from distributed_il.runtime.sweep.space import SweepConfig

    base = _for_the_data(config_of(config, settings), config, settings)
    return run_sweep(SweepConfig(space=space, trials=trials), base)


def _for_the_data(
    made: TrainConfig, config: TrainConfig | Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> TrainConfig:
    """Returns a run with the method that fits its dataset, unless one, or a setting of one, was given."""
    whole = isinstance(config, TrainConfig) or "method" in (config or {})
    own = _fields(type(made.method)).keys() & settings.keys()
    return made if whole or own or "method" in settings else default_method(made)


def config_of(config: TrainConfig | Mapping[str, Any] | None, settings: Mapping[str, Any]) -> TrainConfig:
    """Makes a run's configuration of sections and keywords.

    Args:
        config: Sections of values; None for none.
        settings: Keywords, as `train` takes them.

    Raises:
        UserError: A keyword is no setting, or one of several sections.
    """
    values = dataclasses.asdict(config) if isinstance(config, TrainConfig) else dict(config or {})
    sections = {name: dict(section) for name, section in values.items()}
    method = settings.get("method")
    if method is not None:
        # Of another method the settings before mean nothing.
        given = dict(method) if isinstance(method, Mapping) else {"name": method}
        same = given.get("name", sections.get("method", {}).get("name")) == sections.get("method", {}).get("name")
        sections["method"] = {**(sections.get("method", {}) if same else {}), **given}
    kinds = SECTIONS | {"method": method_class(sections.get("method", {}).get("name", "ig"))}
    for keyword, value in settings.items():
        if keyword == "method":
            continue
        if keyword in kinds and isinstance(value, Mapping):
            sections[keyword] = {**sections.get(keyword, {}), **value}
            continue
        section, name = _place(keyword, kinds)
        sections.setdefault(section, {})[name] = value
    for section, kind in kinds.items():
        check_fields(kind, sections.get(section, {}), f"{section}.")
    return config_from_dict(sections)


def _place(keyword: str, kinds: Mapping[str, type[Any]]) -> tuple[str, str]:
    if keyword in _NAMES:
        section, _, name = _NAMES[keyword].partition(".")
        return section, name
    found = [section for section, kind in kinds.items() if keyword in _fields(kind) and keyword != "name"]
    if len(found) == 1:
        return found[0], keyword
    if found:
        raise UserError(f"{keyword} is a setting of {' and of '.join(found)}; give {found[0]}={{'{keyword}': …}}")
    known = sorted({*_NAMES, *(name for kind in kinds.values() for name in _fields(kind))})
    raise UserError(f"{keyword} is no setting of a run with this method; there are {', '.join(known)}")


def _fields(kind: type[Any]) -> dict[str, Any]:
    return {one.name: one for one in dataclasses.fields(kind)}


def _written(frame: Any, place: str) -> str:
    """Writes a table as Parquet; returns what prepare reads."""
    if type(frame).__module__.startswith("ray.data"):
        frame.write_parquet(place)
        return place
    path = f"{place}/feedback.parquet"
    pq.write_table(to_arrow(frame), path)
    return path


def _read_in_parallel(reader: Any, workers: int) -> Any:
    from distributed_il.runtime.parallel_reading import read_in_parallel

    return read_in_parallel(reader, workers)
