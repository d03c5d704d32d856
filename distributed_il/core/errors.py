"""The one error that is meant for people."""


class UserError(Exception):
    """Input or a situation that the user has to cure.

    The message names the place (file, row, column, value, option) and the cure. Commands print it without a
    trace and exit with status 2.
    """
