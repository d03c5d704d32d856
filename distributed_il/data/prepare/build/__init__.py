"""From rows to a dataset: ids, duplicates, splits, order."""
