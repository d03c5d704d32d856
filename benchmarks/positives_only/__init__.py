"""Feedback without negatives: our models beside those of another package, all measured alike."""
