"""Models: backbones over embedding rows, and their optimiser."""
