"""Measurements: each module answers one question and leaves its answer as JSON and Markdown."""
