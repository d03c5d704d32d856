"""What a dataset remembers of how its log was read, so that a log that goes on from it needs no option again."""

from __future__ import annotations

import dataclasses
from typing import Any

from distributed_il.core.typed import check_fields
from distributed_il.data.dataset import Dataset, Manifest, Reading
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.columns_of_file import ROLES, Choice
from distributed_il.data.prepare.sources.feedback import THRESHOLDS
from distributed_il.data.prepare.sources.known_logs import ANY_LOG

_THRESHOLDS = tuple(name for names in THRESHOLDS.values() for name in names)
_OPTIONS = (
    "rule",
    *_THRESHOLDS,
    "split",
    "train_share",
    "valid_share",
    "unbiased",
    "watch_time_unit",
    "weight_column",
    "preference_column",
    "format",
    "delimiter",
    "no_header",
    "columns",
    "encoding",
)
"""Options that hold for the next log, too. Its columns are remembered by what the files of this one called them."""
_OF_FEATURES = (
    "feature_columns",
    "features_id",
    "features_delimiter",
    "features_separator",
    "features_encoding",
    "features_header",
)
"""Those of side features, which hold where a file of such is given; `user_` or `item_` stands before them."""
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(PrepareConfig)}


def recall(config: PrepareConfig, parent: Dataset | None) -> tuple[PrepareConfig, tuple[str, ...]]:
    """Returns the configuration with what `append_to` remembers where nothing was given, and the options recalled.

    Raises:
        UserError: What is remembered does not go with what was given.
    """
    known = {} if parent is None else _remembered(parent.manifest)
    check_fields(PrepareConfig, known, f"{config.append_to} remembers ")
    recalled = {name: value for name, value in known.items() if getattr(config, name) == _DEFAULTS[name]}
    for kind in ("user", "item"):
        if getattr(config, f"{kind}_features") is None:
            recalled = {name: value for name, value in recalled.items() if not name.startswith(f"{kind}_feature")}
    if config.rule not in ("auto", known.get("rule", config.rule)):
        recalled = {name: value for name, value in recalled.items() if name not in _THRESHOLDS}
    told = tuple(f"{name} {value}" for name, value in recalled.items())
    if config.split == "auto":
        recalled = {"split": "random", **recalled}
    return dataclasses.replace(config, **recalled), told


def reading_of(config: PrepareConfig, choice: Choice, parent: Dataset | None, recalled: tuple[str, ...]) -> Reading:
    """Returns what the dataset is to remember.

    Args:
        config: With the options that were recalled.
        choice: What is read of a file.
        parent: The dataset that it goes on from.
        recalled: Those options, in words.
    """
    before = {} if parent is None else parent.manifest.reading.columns
    given = {role: name for role in ROLES if (name := getattr(config, f"{role}_column"))}
    columns: dict[str, str] = {}
    if choice.log.layout is None:  # of a file without a header, names are not what another one has
        usual = {role: getattr(ANY_LOG.fields, role) for role in ROLES}
        usual |= {"preference": config.preference_column, "weight": config.weight_column}  # options of their own
        columns = {role: name for role, name in choice.columns.items() if name != usual.get(role)}
    again = [f"{role} {name}" for role, name in columns.items() if before.get(role) == name and role not in given]
    recalled = (*(["columns " + ", ".join(again)] if again else []), *recalled)
    names = _OPTIONS + tuple(f"{kind}_{name}" for kind in ("user", "item") for name in _OF_FEATURES)
    options = {name: value for name in names if (value := getattr(config, name)) != _DEFAULTS[name]}
    if config.split == "random":  # which is what there is without being told
        del options["split"]
    return Reading(columns={**before, **given, **columns}, options=options, recalled=recalled)


def _remembered(before: Manifest) -> dict[str, Any]:
    """Returns options of a dataset; one from before they were remembered tells those of its rule and its features."""
    known = {
        name: before.rule[name] for name in _THRESHOLDS if before.rule.get(name, _DEFAULTS[name]) != _DEFAULTS[name]
    }
    if known:  # else another rule is refused by what it is
        known["rule"] = before.rule["name"]
    for entity, columns in before.features.items():
        known[f"{entity.removesuffix('s')}_feature_columns"] = [column.name for column in columns]
    return known | {name: value for name, value in before.reading.options.items() if name in _DEFAULTS}
