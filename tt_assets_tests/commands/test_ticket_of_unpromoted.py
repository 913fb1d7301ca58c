"""An order ticket is printed for what the gate promoted, or on one's own word."""

from __future__ import annotations

from datetime import date

import pytest
from click.testing import CliRunner

from tt_assets.commands import holdings as room
from tt_assets.commands.holdings_command import holdings
from tt_assets.errors import UserError
from tt_assets.settings import Settings
from tt_assets.trading.episodes.holdings import Holdings


@pytest.fixture
def _decided(connected, monkeypatch):
    found = Holdings("sample", date(2012, 7, 1), date(2012, 9, 28), 10_000.0, {0: "a" * 64}, (), ())
    monkeypatch.setattr(room, "current_holdings", lambda *_, **__: found)
    monkeypatch.setattr(room, "portfolio_of", lambda *_: "sample")
    monkeypatch.setattr(room, "ticket", lambda *_: "ACTION,QUANTITY\n")


@pytest.mark.usefixtures("_decided")
def test_a_ticket_of_what_is_not_promoted_is_asked_for_twice():
    refused = CliRunner().invoke(holdings, ["--csv"], obj=Settings)
    assert isinstance(refused.exception, UserError)
    assert "sample is not promoted: nobody asked the gate yet" in str(refused.exception)
    assert "--unpromoted" in str(refused.exception)
    given = CliRunner().invoke(holdings, ["--csv", "--unpromoted"], obj=Settings)
    assert given.exit_code == 0, given.exception
    assert given.stdout.startswith("ACTION,QUANTITY")
