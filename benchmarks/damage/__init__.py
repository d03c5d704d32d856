"""What `benchmarks.damage_at_rest` damages, how, and the commands that must notice."""
