"""The six methods of the paper's Table 2, the ordinal loss, and methods of the user's, behind one protocol."""

from distributed_il.core.errors import UserError
from distributed_il.core.method_config import MethodConfig
from distributed_il.core.own_code import find_object
from distributed_il.data.loading.batch import Phase
from distributed_il.methods.protocol import Method

__all__ = ["Method", "make_method"]

_SUPERVISED = "distributed_il.methods.supervised:Supervised"
BUILT_IN = {
    "none": _SUPERVISED,
    "ns": _SUPERVISED,
    "t_ce": _SUPERVISED,
    "r_ce": _SUPERVISED,
    "idl": _SUPERVISED,
    "ordinal": "distributed_il.methods.ordinal:Ordinal",
    "ig": "distributed_il.methods.inverse_gradient:InverseGradient",
}


def make_method(config: MethodConfig) -> Method:
    """Builds the method, built in or of the user's, that a run's `method` section names.

    Raises:
        UserError: The class can't be imported, or lacks a part of `Method`.
    """
    method = find_object("method.name", BUILT_IN.get(config.name, config.name))(config)
    phases, share = getattr(method, "phases", ()), getattr(method, "test_share", None)
    if not phases or not all(isinstance(phase, Phase) for phase in phases):
        raise UserError(f"method.name '{config.name}' has no `phases`; give it a tuple of Phase, one for each pass")
    if not isinstance(share, int | float) or not 0 <= share <= 0.5:
        raise UserError(f"method.name '{config.name}': test_share is {share}; it must be a number from 0 to 0.5")
    if share == 0 and any(phase.subset != "all" for phase in phases):
        raise UserError(f"method.name '{config.name}' has phases over parts of the rows; give it a test_share above 0")
    return method
