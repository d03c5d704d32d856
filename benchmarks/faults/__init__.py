"""Tests of robustness, not speed: runs on several nodes while processes, nodes, network or storage fail."""
