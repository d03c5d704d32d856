"""`distributed-il train`: one run, from a dataset to a measured model."""

from __future__ import annotations

import dataclasses
import datetime
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed_il.cli.given import Given, collect
from distributed_il.cli.options import Sections, read_options
from distributed_il.cli.output import metric_table, ranking_table
from distributed_il.core.config import SECTIONS, TrainConfig, config_from_dict
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import METHODS, method_class

ABOUT = (
    f"Trains a recommender on a prepared dataset, by one of the methods {', '.join(METHODS)} or your own. "
    "`--method.name=t_ce --help` shows the settings of that method."
)
NAMES = {"method": f"Which method: {', '.join(METHODS)}, or module:Class of your own."}
_DEFAULT_METHOD = "ig"
CHOOSE_SPACE = "jobs/choose_space.yaml"
"""The search space that compares the methods."""


def run(argv: Sequence[str]) -> None:
    """Trains, and prints the model's test metrics beside the baselines.

    Raises:
        UserError: See `distributed_il.runtime.launch.launch` and `seeds.train_seeds`.
    """
    config = for_the_data(read(argv), argv, "train")
    if config.run.seeds > 1:
        _train_seeds(config)
    else:
        _train_one(config)
    print(f"TensorBoard: {_program('tensorboard')} --logdir {shlex.quote(config.run.dir)}")
    print(f"What pays:   {_choosing(config)}")


def _train_one(config: TrainConfig) -> None:
    from distributed_il.runtime.opening import open_run

    began = time.monotonic()
    open_run(config)
    from distributed_il.runtime.early_start import start_run

    result = start_run(config)
    model = f"{config.model.backbone} {config.method.name}"
    print(f"{_ending(config, result['run'])}; {_since(began)} in all\n")
    print(metric_table("test", {model: result["test"], f"{model}, on valid": result["valid"], **result["trivial"]}))
    print(f"\n{ranking_table(model, result['ranking'])}")
    print(f"\nRun:         {config.run.dir} (metrics.json, config.yaml, checkpoints)")


def _train_seeds(config: TrainConfig) -> None:
    from distributed_il.runtime.seeds import train_seeds
    from distributed_il.training.seeds import SEEDS_FILE, seed_lines

    began = time.monotonic()
    results = train_seeds(config)
    print(f"{len(results)} seeds of {config.model.backbone} {config.method.name}; {_since(began)} in all\n")
    trivial = next(iter(results.values()))["trivial"]
    print(metric_table("test", {**seed_lines(results), **trivial}))
    names = ", ".join(f"seed-{seed}" for seed in results)
    print(f"\nRuns:        {config.run.dir} ({names}, {SEEDS_FILE})")
    page = [_program("distributed-il"), "report", shlex.quote(config.run.dir), "--output=page.html"]
    print(f"Page:        {' '.join(page)}")


def _since(began: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=round(time.monotonic() - began))


def _ending(config: TrainConfig, run: Mapping[str, Any]) -> str:
    """Says why a run has ended, and which round it is measured at."""
    rounds, best = run["rounds"], run["best_round"]
    if rounds >= config.run.max_rounds:
        return f"run.max_rounds ({rounds}) reached; the best round was {best}"
    return f"stopped after round {rounds}: none of the last {rounds - best} was better than round {best}"


def _choosing(config: TrainConfig) -> str:
    """Returns the command that finds out which method pays on the same data."""
    run_dir = f"{config.run.dir.rstrip('/')}-choice"
    settings = {"sweep.space": CHOOSE_SPACE, "data.path": config.data.path, "run.dir": run_dir}
    options = [f"--{key}={shlex.quote(value)}" for key, value in settings.items()]
    return " ".join([_program("distributed-il"), "sweep", *options])


def _program(name: str) -> str:
    """Returns a program as it can be typed here: by its name only where this environment is active."""
    program = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(program) or not program.exists():
        return name
    return os.path.relpath(program) if program.is_relative_to(Path.cwd()) else str(program)


def read(argv: Sequence[str]) -> TrainConfig:
    """Returns the run that the arguments describe.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    return config_from_dict(read_options("train", ABOUT, argv, train_sections, belongs_to_method, NAMES))


def for_the_data(config: TrainConfig, argv: Sequence[str], command: str) -> TrainConfig:
    """Returns a run with the method that fits its dataset, unless one, or a setting of one, was named."""
    if any(setting.key.startswith("method.") for setting in collect(command, argv).settings):
        return config
    from distributed_il.training.feedback import default_method

    return default_method(config)


def train_sections(given: Given) -> Sections:
    """Returns the sections of a run; which settings the method has depends on which one was named."""
    name = given.last("method.name")
    if name is None:
        return {**SECTIONS, "method": METHODS[_DEFAULT_METHOD]}
    try:
        return {**SECTIONS, "method": method_class(str(name.value or ""))}
    except UserError as error:
        raise UserError(f"{name.place}: {error}") from error


def belongs_to_method(key: str) -> str:
    """Returns a hint which method a setting belongs to, if not to the one that was named; otherwise nothing."""
    section, _, field = key.partition(".")
    if section != "method":
        return ""
    owners = [name for name, cls in METHODS.items() if field in {known.name for known in dataclasses.fields(cls)}]
    if not owners:
        return ""
    return f" here: it belongs to {' and '.join(owners)}; choose with --method.name={owners[0]}"
