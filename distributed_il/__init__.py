"""Inverse learning from extremely sparse feedback, trained on a Ray cluster."""

__version__ = "0.1.0"
