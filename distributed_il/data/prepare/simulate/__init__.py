"""Simulated micro-video logs, with the truth behind every watch."""
