"""A Ray cluster of several real nodes on one machine, for tests and for trying: `python -m cluster.local up`."""

from cluster.local.local_cluster import HEAD, LocalCluster

__all__ = ["HEAD", "LocalCluster"]
