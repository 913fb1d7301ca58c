"""The errors a person can cause and mend.

A `UserError` says on one line what is wrong, with the value, and what to do about it. The command line prints that line
and exits with 2; Dagster shows it as the reason of a failed step. Everything else is a defect and keeps its traceback.
"""


class UserError(Exception):
    """Something outside the program is wrong: an input, a setting, a file, a server. One line: thing, value, remedy."""
