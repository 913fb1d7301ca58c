"""What goes wrong with market data as a whole; light, because the settings need it."""

from tt_assets.errors import UserError


class BarsFileError(UserError):
    """A bars file as a whole cannot be used: missing, unreadable, refused, or without the columns of a bar."""


class UnnamedBars(BarsFileError):
    """A table of bars whose headers do not say which column is which; it is not something else that may be left out."""
