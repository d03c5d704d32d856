"""The six methods of the paper's Table 2, behind one protocol."""

from distributed_il.core.config import InverseGradientConfig, MethodConfig
from distributed_il.methods.inverse_gradient import InverseGradient
from distributed_il.methods.protocol import Method
from distributed_il.methods.supervised import Supervised

__all__ = ["Method", "make_method"]


def make_method(config: MethodConfig) -> Method:
    """Builds the method that a run's `method` section describes.

    Args:
        config: One of the six method sections.
    """
    if isinstance(config, InverseGradientConfig):
        return InverseGradient(config)
    return Supervised(config)
