"""The one error that is meant for people, and checks that raise it."""

from __future__ import annotations

import math


class UserError(Exception):
    """Input or a situation that the user has to cure.

    The message names the place (file, row, column, value, option) and the cure. Commands print it without a
    trace and exit with status 2.
    """


def require(condition: bool, message: str) -> None:
    """Raises a UserError with the message unless the condition holds."""
    if not condition:
        raise UserError(message)


def require_at_least(name: str, value: float, least: float) -> None:
    """Raises a UserError unless the value of a setting is at least `least`."""
    require(value >= least, f"{name} is {value}; it must be at least {least}")


def require_positive(name: str, value: float) -> None:
    """Raises a UserError unless the value of a setting is finite and above 0."""
    require(math.isfinite(value) and value > 0, f"{name} is {value}; it must be a finite number above 0")


def require_not_negative(name: str, value: float) -> None:
    """Raises a UserError unless the value of a setting is finite and at least 0."""
    require(math.isfinite(value) and value >= 0, f"{name} is {value}; it must be 0 or a finite number above it")


def require_seed(name: str, value: int) -> None:
    """Raises a UserError unless a seed is one of 64 bits; of a longer one only the last 64 would count."""
    require(0 <= value < 2**64, f"{name} is {value}; it must be 0 or above, and below 2**64")
