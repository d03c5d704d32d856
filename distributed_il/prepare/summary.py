"""What was prepared, in a few lines."""

from __future__ import annotations

from distributed_il.dataset import UNCLEAR, Manifest

_SET_ASIDE = {
    "duplicate_rows": "duplicates of a pair, {duplicates} kept",
    "contradicting_rows": "of pairs whose labels differ, {contradictions} kept",
    "overlapping_rows": "of pairs that an earlier split has",
    "unclear_rows_outside_train": "unclear rows of valid and test",
    "unclear_rows_with_label": "unclear rows of pairs with a label in train",
}


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
    if "rows_read" in manifest.counts:
        lines.append(f"  {'read':<8}{manifest.counts['rows_read']:>14,} rows")
    for name, reason in _SET_ASIDE.items():
        if manifest.counts.get(name):
            lines.append(f"  {'aside':<8}{manifest.counts[name]:>14,} rows: {reason.format(**manifest.policies)}")
    if manifest.counts.get("unseen_rows"):
        done = {"keep": "kept", "drop": "set aside"}[manifest.policies["unseen"]]
        lines.append(
            f"  {'unseen':<8}{manifest.counts['unseen_rows']:>14,} rows of valid and test, {done}: "
            f"{manifest.counts['unseen_users']:,} users and {manifest.counts['unseen_items']:,} items are not in train"
        )
    return "\n".join(lines)
