"""What an error says is one line that a terminal prints and does not obey, however it came about."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_assets.assets.report import report_file
from tt_assets.commands.printing import complain, keep_logs_printable, print_rows, say
from tt_assets.errors import LONGEST_LINE, UserError, nearest_or_all, printable
from tt_assets.settings import Settings

HOSTILE = "\x1b]0;owned\x07\u202egnp.exe\x9b2J\r"


@given(st.text(alphabet=st.characters(), max_size=200))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert all(sign.isprintable() or sign in "\t\n" or ord(sign) > 0x2000 or sign == "\xa0" for sign in shown) or all(
        ord(sign) >= 0x20 for sign in shown if sign not in "\t\n"
    )
    assert printable(shown) == shown


@given(st.text(max_size=5_000))
def test_an_error_is_one_line_of_bounded_length(text: str) -> None:
    said = str(UserError(text))
    assert "\n" not in said
    assert "\r" not in said
    assert len(said) <= LONGEST_LINE + 10


def test_what_an_error_ends_with_stays() -> None:
    said = str(UserError("x" * 100_000 + ": do this."))
    assert said.startswith("xxx")
    assert said.endswith(": do this.")


def test_every_door_to_the_terminal_writes_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    complain(HOSTILE)
    print_rows([{"name": HOSTILE}], "title")
    kept = logging.getLogRecordFactory()
    handler = logging.StreamHandler(sys.stderr)
    try:
        keep_logs_printable()
        logger = logging.getLogger("hostile")
        logger.addHandler(handler)
        logger.warning("read %s", HOSTILE)
    finally:
        logging.setLogRecordFactory(kept)
        logger.removeHandler(handler)
    both = capsys.readouterr()
    for text in (both.out, both.err):
        assert not set(text) & set("\x1b\x07\u202e\x9b\r")
        assert "\\x1b]0;owned" in text


def test_no_two_names_share_a_report() -> None:
    names = ("A/B", "A_B", "A B", "..", ".", "A/B~", "É", "IBM", "sample")
    home = Settings().home
    files = [report_file(home, name) for name in names]
    assert len(set(files)) == len(names)
    assert all(file.parent == home / "reports" and not file.name.startswith(".") for file in files)
    assert report_file(home, "sample").name == "sample.html"


def test_a_name_is_suggested_only_where_it_is_near():
    known = ["KO", "GOOG", "tt_policy", *(f"S{number}" for number in range(9))]
    assert nearest_or_all("GOGO", known) == 'The nearest is "GOOG".'
    assert nearest_or_all("TT_POLCY", known) == 'The nearest is "tt_policy".'
    assert nearest_or_all("growth", known) == "There are KO, GOOG, tt_policy, S0, S1, S2, S3, S4, S5, S6 and 2 more."
    assert nearest_or_all("growth", []) == "There is none."
