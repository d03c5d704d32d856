"""Many runs over settings of a run, on Ray Tune: the best by validation loss is found, and it alone is tested."""
