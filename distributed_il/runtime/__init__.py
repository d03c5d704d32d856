"""Everything that runs on Ray."""
