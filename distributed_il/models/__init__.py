"""What is trained: backbones over embedding rows, and their optimiser."""
