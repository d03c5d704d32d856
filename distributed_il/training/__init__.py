"""A run without its cluster: rounds, checkpoints, telemetry."""
