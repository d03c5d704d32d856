"""Parts of the benchmarks that repeat the paper's tables."""
