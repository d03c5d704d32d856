"""Searches settings of a run on Ray Tune: the trial of the best validation metric is chosen, and it alone is tested."""
