"""What a run shows: TensorBoard files, figures, and the histories that they are drawn from."""

from distributed_il.training.monitor.figures import decision_curve_figure, weight_distribution_figure
from distributed_il.training.monitor.histories import DecisionHistory, WeightHistogram
from distributed_il.training.monitor.tensorboard import Monitor, NullMonitor, TensorBoardMonitor

__all__ = [
    "DecisionHistory",
    "Monitor",
    "NullMonitor",
    "TensorBoardMonitor",
    "WeightHistogram",
    "decision_curve_figure",
    "weight_distribution_figure",
]
