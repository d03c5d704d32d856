"""Pages for people: one of runs (settings, curves, metrics), one of a dataset, and what the page of a sweep shares."""
