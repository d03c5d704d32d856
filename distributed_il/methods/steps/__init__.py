"""How a step is carried out: eager, compiled, fused, or as CUDA graphs."""
