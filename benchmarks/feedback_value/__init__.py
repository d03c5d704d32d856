"""Parts of the benchmark of what unlabelled feedback is worth."""
