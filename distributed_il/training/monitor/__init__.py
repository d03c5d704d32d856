"""What a run shows: TensorBoard files, and the histories that charts (`figures`) are drawn from."""

from distributed_il.training.monitor.histories import DecisionHistory, WeightHistogram
from distributed_il.training.monitor.tensorboard import Monitor, NullMonitor, TensorBoardMonitor, event_dir

__all__ = [
    "DecisionHistory",
    "Monitor",
    "NullMonitor",
    "TensorBoardMonitor",
    "WeightHistogram",
    "event_dir",
]
