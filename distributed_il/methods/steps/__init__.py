"""Execution of a step: eager, compiled, fused, or as CUDA graphs."""
