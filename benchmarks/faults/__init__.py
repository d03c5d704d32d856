"""The fault table: what happens to a run on several nodes when processes, nodes, network or storage fail."""
