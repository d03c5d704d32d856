"""The public names for type checkers; `__init__.py` imports each when it is first used."""

from distributed_il.core.errors import UserError as UserError
from distributed_il.inference.loaded_model import LoadedModel as LoadedModel
from distributed_il.inference.loaded_model import evaluate as evaluate
from distributed_il.inference.loaded_model import load as load
from distributed_il.runtime.calls import Run as Run
from distributed_il.runtime.calls import prepare as prepare
from distributed_il.runtime.calls import sweep as sweep
from distributed_il.runtime.calls import train as train

__version__: str
