"""Commands as jobs of a Ray cluster, through Ray's job API."""
