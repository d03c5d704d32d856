"""What runs this program on several machines: images, manifests, and a cluster of several nodes on one machine."""
