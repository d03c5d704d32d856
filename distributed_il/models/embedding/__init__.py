"""Embedding rows: stored, exchanged and updated."""
