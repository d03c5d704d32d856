"""Parts of the step benchmarks: cases, the dense way, cost model."""
