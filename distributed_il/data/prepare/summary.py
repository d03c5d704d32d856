"""Summarises a prepared dataset: rows in, out and set aside, users and items, and how long people watched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.dataset import UNCLEAR, Dataset, FactorsManifest, Manifest
from distributed_il.data.prepare.sources.read_stats import CLASSES, EDGES_S, WatchTimes

_KINDS = {"observed": "labelled", "logged": "unclear"}
"""What the exposures of each index are called."""
SET_ASIDE = {
    "rejected_rows": "bad rows, listed in rejects.csv",
    "duplicate_rows": "duplicates of a pair, {duplicates} kept",
    "contradicting_rows": "of pairs whose labels differ, {contradictions} kept",
    "overlapping_rows": "of pairs that an earlier split has",
    "inactive_rows": "of users or items with too few labelled rows",
    "inactive_unclear_rows": "unclear rows of such",
    "unclear_rows_outside_train": "unclear rows of valid and test",
    "unclear_rows_with_label": "unclear rows of pairs with a label in train",
}
"""Counts of rows that reach no split, and why; a policy's name in braces stands for its value."""


def dataset_summary(
    dataset: Dataset, user_rows: NDArray[np.int64], item_rows: NDArray[np.int64], watch_times: WatchTimes
) -> dict[str, Any]:
    """Summarises a dataset for summary.json and the page.

    Args:
        dataset: Whose rows are written.
        user_rows: int64 [num_users], training rows of each user.
        item_rows: int64 [num_items].
        watch_times: Of all good rows read; empty where the log has none.

    Returns:
        Plain values that JSON can hold.
    """
    manifest = dataset.manifest
    splits: dict[str, Any] = {
        name: {
            "rows": split.rows,
            "positives": split.positives,
            **_ids_of_split(dataset, name, "user", user_rows),
            **_ids_of_split(dataset, name, "item", item_rows),
        }
        for name, split in manifest.splits.items()
    }
    for name, times in manifest.times.items():
        splits[name] |= {"times": list(times)}
    labelled = _labelled_rows(manifest)
    positives = sum(split.positives for split in manifest.splits.values())
    unclear = manifest.splits[UNCLEAR].rows if UNCLEAR in manifest.splits else 0
    counts = manifest.counts
    return {
        "name": manifest.name,
        "fingerprint": manifest.fingerprint,
        "parent": manifest.parent,
        "rule": manifest.rule,
        "policies": manifest.policies,
        "rows": {
            "in": counts.get("rows_read", labelled + unclear) + counts.get("rejected_rows", 0),
            "from_parent": counts.get("parent_rows", 0),
            "out": labelled + unclear,
            "set_aside": {name: counts[name] for name in SET_ASIDE if counts.get(name)},
        },
        "splits": splits,
        "users": manifest.num_users,
        "items": manifest.num_items,
        "density": labelled / (manifest.num_users * manifest.num_items),
        "classes": {"positive": positives, "negative": labelled - positives, "unclear": unclear},
        "features": {
            entity: {
                "values": {column.name: column.values for column in columns},
                "with_features": counts.get(f"{entity}_with_features", 0),
                "unused": counts.get(f"{entity.removesuffix('s')}_features_unused", 0),
            }
            for entity, columns in manifest.features.items()
        },
        "counts": dict(counts),
        "watch_time": _watch_time(watch_times),
        "train_rows_per_user": _activity(user_rows),
        "train_rows_per_item": _activity(item_rows),
    }


def _ids_of_split(dataset: Dataset, split: str, kind: str, train_rows: NDArray[np.int64]) -> dict[str, int]:
    """Counts the users or items of a split, and those of them without a row in train."""
    found = np.zeros(train_rows.size, dtype=np.bool_)
    for lane in range(dataset.lanes):
        for block in dataset.blocks(split, lane):
            found[dataset.read_block(block, [f"{kind}_id"]).column(0).to_numpy()] = True
    return {f"{kind}s": int(found.sum()), f"unseen_{kind}s": int((found & (train_rows == 0)).sum())}


def factors_summary(manifest: FactorsManifest | None, reason: str = "") -> dict[str, Any]:
    """Summarises exposure factors for summary.json and the page.

    Args:
        manifest: What was computed; None where there are none.
        reason: Why there are none.

    Returns:
        Plain values that JSON can hold; `columns` is 0 where there are none.
    """
    if manifest is None:
        return {"columns": 0, "reason": reason}
    return {
        "columns": manifest.columns,
        "fingerprint": manifest.fingerprint,
        "basis": manifest.basis,
        "tau": manifest.tau,
        "exposures": dict(manifest.exposures),
        "left_out": dict(manifest.left_out),
        "singular_values": list(manifest.singular_values),
        "null_edge": manifest.null_edge,
        "energy": manifest.energy,
        "has_structure": manifest.has_structure,
    } | ({"aligned": True} if manifest.rotation else {})


def factors_text(factors: Mapping[str, Any]) -> str:
    """Says in words what who-watched-what tells.

    Args:
        factors: From `factors_summary`.

    Returns:
        Some sentences.
    """
    if not factors["columns"]:
        return f"No exposure factors: {factors['reason']}."
    rows = [f"{count:,} {_KINDS[name]}" for name, count in factors["exposures"].items()]
    told = [f"{factors['columns']} exposure factors from {' and '.join(rows)} training rows, τ {factors['tau']:g}"]
    if factors.get("aligned"):
        told.append("Their basis was computed anew after the log had grown, and aligned to the one before")
    elif factors["basis"]:
        told.append("Their basis is that of the dataset that this one goes on from; new users and items are folded in")
    first, edge = factors["singular_values"][0], factors["null_edge"]
    values = f"the first singular value is {first:.3f}, chance alone reaches {edge:.3f}"
    if factors["has_structure"]:
        told.append(f"Who watched what carries structure: {values}")
    else:
        told.append(f"Who watched what tells no more than activity and popularity: {values}; factors gain nothing")
    left_out = sum(factors["left_out"].values())
    if left_out:
        told.append(f"{left_out:,} exposures are left out because their pairs stand in valid or test")
    return ". ".join(told) + "."


def _labelled_rows(manifest: Manifest) -> int:
    return sum(split.rows for name, split in manifest.splits.items() if name != UNCLEAR)


def _watch_time(watch_times: WatchTimes) -> dict[str, Any] | None:
    if not watch_times.counts.any():
        return None
    by_class = {name: watch_times.counts[number].tolist() for number, name in enumerate(CLASSES)}
    return {"from_s": list(EDGES_S), "watches_without_duration": watch_times.without_duration, **by_class}


def _activity(rows: NDArray[np.int64]) -> dict[str, Any]:
    """Counts who has 0, 1, 2 to 3, 4 to 7, … rows."""
    top = int(rows.max(initial=0))
    edges = [0, *(2**power for power in range(math.floor(math.log2(top)) + 1 if top else 0))]
    bins = np.searchsorted(edges, rows, side="right") - 1
    return {"from": edges, "count": np.bincount(bins, minlength=len(edges)).tolist(), "most": top}


def summary_text(manifest: Manifest) -> str:
    """Summarises a dataset in some lines of text.

    Args:
        manifest: Its manifest.

    Returns:
        Rows and positives of each split, users, items, density, and what was set aside.
    """
    lines = [f"{manifest.name}: {manifest.num_users:,} users, {manifest.num_items:,} items"]
    labelled = _labelled_rows(manifest)
    density = labelled / (manifest.num_users * manifest.num_items)
    lines[0] += f", {labelled:,} labelled rows ({density:.4%} of all pairs)"
    for name, split in manifest.splits.items():
        positive = "" if name == UNCLEAR else f", {split.positives / split.rows:.1%} positive"
        times = ", from {} to {}".format(*manifest.times[name]) if name in manifest.times else ""
        lines.append(f"  {name:<8}{split.rows:>14,} rows{positive}{times}")
    counts = manifest.counts
    if "rows_read" in counts:
        lines.append(f"  {'read':<8}{counts['rows_read']:>14,} rows{_files(manifest)}")
    if counts.get("parent_rows"):
        lines.append(f"  {'parent':<8}{counts['parent_rows']:>14,} rows of the dataset that this one goes on from")
    if manifest.reading.recalled:
        lines.append(f"  as then: {'; '.join(manifest.reading.recalled)}")
    for name, reason in SET_ASIDE.items():
        if counts.get(name):
            lines.append(f"  {'aside':<8}{counts[name]:>14,} rows: {reason.format(**manifest.policies)}")
    if counts.get("inactive_users") or counts.get("inactive_items"):
        lines.append(
            f"  {'aside':<8}{counts['inactive_users']:>14,} users and {counts['inactive_items']:,} items with too few "
            "labelled rows"
        )
    if counts.get("unseen_rows"):
        done = {"keep": "kept", "drop": "set aside"}[manifest.policies["unseen"]]
        lines.append(
            f"  {'unseen':<8}{counts['unseen_rows']:>14,} rows of valid and test, {done}: "
            f"{counts['unseen_users']:,} users and {counts['unseen_items']:,} items are not in train"
        )
    for entity, columns in manifest.features.items():
        kind, known = entity.removesuffix("s"), counts.get(f"{entity}_with_features", 0)
        values = ", ".join(f"{column.name} ({column.values:,} values{_at_once(column.width)})" for column in columns)
        unused = counts.get(f"{kind}_features_unused", 0)
        rest = f"; {unused:,} {entity} of the file are not in the log" if unused else ""
        lines.append(f"  {'features':<8}{known:>14,} {entity} have some: {values}{rest}")
    return "\n".join(lines)


def _files(manifest: Manifest) -> str:
    """Tells of how many files the rows are, and how many have none; each kind of side features came from one more."""
    files, empty = len(manifest.source) - len(manifest.features), manifest.counts.get("empty_files", 0)
    if files < 1:
        return ""
    return f" of {files:,} file{'s' if files > 1 else ''}" + (f", {empty:,} of them empty" if empty else "")


def _at_once(width: int) -> str:
    return f", up to {width} at once" if width > 1 else ""
