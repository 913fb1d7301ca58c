"""The errors a person can cause and mend.

A `UserError` says on one line what is wrong, with the value, and what to do about it. The command line prints that line
and exits with 2; Dagster shows it as the reason of a failed step. Everything else is a defect and keeps its traceback.

What an error or a line quotes may come out of somebody else's file: `printable` is what it goes through on its way to
a terminal or a log.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # what turns, hides or breaks the text around it
    "\ud800-\udfff]"  # halves of surrogate pairs, which no terminal can be sent
)


_BREAK = re.compile(r"\s*[\r\n\x0b\x0c\x85\u2028\u2029]\s*")
LONGEST_LINE = 3_000
"""Characters of an error; a value that it quotes may be a whole file."""


def printable(text: str) -> str:
    """`text` without anything that a terminal would obey: such signs are written out by their number."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """`text` printable and on one line, its middle left out where it is longer than anybody reads."""
    line = printable(_BREAK.sub(" ", text))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE // 2]} […] {line[-LONGEST_LINE // 3 :]}"


def counted(number: int, what: str) -> str:
    """`1 trial`, `1,234 trials`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


NEAR = 0.6
"""Share of letters that two names have in common from which one of them may be meant by the other."""


def nearest_of(name: str, known: Iterable[str], *, cutoff: float = NEAR) -> str | None:
    """The name of `known` that a person may have meant by `name`, in whatever case; None where none is near.

    Parameters
    ----------
    cutoff : share of letters in common from which one is near. Short names, of which there are many, ask for more.
    """
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def nearest_or_all(name: str, known: Sequence[str], most: int = 10) -> str:
    """A sentence with the name of `known` that may be meant by `name`, else with the first of those there are."""
    if near := nearest_of(name, known):
        return f'The nearest is "{near}".'
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return f"There are {', '.join(known[:most])}{more}." if known else "There is none."


class UserError(Exception):
    """Something outside the program is wrong: an input, a setting, a file, a server. One line: thing, value, remedy."""

    def __str__(self) -> str:
        """The line, printable, its middle left out where it is longer than anybody reads."""
        return one_line(super().__str__())
