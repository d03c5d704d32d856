"""A trained model for other programs: `torch.export`, ONNX, and arrays that NumPy alone can read."""

from distributed_il.inference.export.exporting import export

__all__ = ["export"]
