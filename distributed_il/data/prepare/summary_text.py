"""What was prepared, in a few lines."""

from __future__ import annotations

from distributed_il.data.dataset import UNCLEAR, Manifest
from distributed_il.data.prepare.summary import SET_ASIDE


def summary(manifest: Manifest) -> str:
    """A readable account of a dataset.

    Args:
        manifest: Its manifest.

    Returns:
        Some lines: rows and positives of each split, users, items, density, and what was set aside.
    """
    lines = [f"{manifest.name}: {manifest.num_users:,} users, {manifest.num_items:,} items"]
    labelled = sum(split.rows for name, split in manifest.splits.items() if name != UNCLEAR)
    density = labelled / (manifest.num_users * manifest.num_items)
    lines[0] += f", {labelled:,} labelled rows ({density:.4%} of all pairs)"
    for name, split in manifest.splits.items():
        positive = "" if name == UNCLEAR else f", {split.positives / split.rows:.1%} positive"
        lines.append(f"  {name:<8}{split.rows:>14,} rows{positive}")
    counts = manifest.counts
    if "rows_read" in counts:
        lines.append(f"  {'read':<8}{counts['rows_read']:>14,} rows")
    if counts.get("parent_rows"):
        lines.append(f"  {'parent':<8}{counts['parent_rows']:>14,} rows of the dataset that this one goes on from")
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
        values = ", ".join(f"{column.name} ({column.values:,} values)" for column in columns)
        unused = counts.get(f"{kind}_features_unused", 0)
        rest = f"; {unused:,} {entity} of the file are not in the log" if unused else ""
        lines.append(f"  {'features':<8}{known:>14,} {entity} have some: {values}{rest}")
    return "\n".join(lines)
