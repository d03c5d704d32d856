"""What torch.compile must be told for functions of a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import _dynamo as dynamo
from torch._dynamo import exc
from torch.fx.experimental import _config


class _TooOldError(Exception):
    """This torch can't compile what asks for gradients."""


_FAILURES = (exc.TorchDynamoException, exc.FailOnRecompileLimitHit, _TooOldError)
_shapes: Any = _config  # made at run time into something with `patch`
F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, *, any_length: Sequence[str], say: Callable[[str], None]) -> F:
    """Compiles a function that asks for gradients; it happens at the first call, and again for other layouts.

    Args:
        function: Of tensors by position, without a branch on their values.
        any_length: Its arguments whose first dimension the compiler must not take for a constant; one may be a tuple
            of tensors, which all have such.
        say: Told, once, why compilation failed.

    Returns:
        The compiled function. Where compilation fails, the function itself from then on.
    """
    places = [place for place, name in enumerate(inspect.signature(function).parameters) if name in any_length]
    inner: Callable[..., Any] | None = None
    failed = False

    def call(*arguments: Any) -> Any:
        nonlocal inner, failed
        if failed:
            return function(*arguments)
        try:
            if inner is None:
                for place in places:
                    given = arguments[place]
                    for tensor in given if isinstance(given, tuple) else (given,):
                        dynamo.mark_dynamic(tensor, 0)
                inner = _compile(function)
                with _shapes.patch(use_duck_shape=False):  # lengths that happen to be equal now differ later
                    return inner(*arguments)
            return inner(*arguments)
        except _FAILURES as error:
            # Raised before anything is computed, so that no tensor is half changed.
            failed = True
            say(f"the step is not compiled, and slower for it: {str(error).strip().splitlines()[0]}")
            return function(*arguments)

    return cast(F, call)


def _compile(function: F) -> F:
    if not hasattr(dynamo.config, "trace_autograd_ops"):
        raise _TooOldError(f"torch {torch.__version__} can't compile torch.autograd.grad; torch 2.13 can")
    # New, and still switched off by default.
    dynamo.config.trace_autograd_ops = True
    compile: Any = torch.compile  # its annotations know neither bound methods nor this option
    return compile(
        function,
        fullgraph=True,
        dynamic=False,  # but for the lengths marked: what another model in this process had does not count
        # What a function closes over never changes, and no other compilation of it is looked at, so that only what
        # differs from batch to batch needs looking at before each call: that takes a fifth of a step otherwise.
        isolate_recompiles=True,
        options={"guard_filter_fn": torch.compiler.keep_portable_guards_unsafe},
    )
