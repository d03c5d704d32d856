"""Searches settings of a run on Ray Tune: the trial of lowest validation loss is chosen, and it alone is tested."""
