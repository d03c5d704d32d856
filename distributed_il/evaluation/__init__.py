"""How good scores are: exact metrics, over all ranks, beside what needs no model."""
