"""What the page of a cell of `tt_prices` says about its sessions."""

from tt_assets.market.sources import SessionOutcome

SAID = {
    SessionOutcome.BAR: "loaded",
    SessionOutcome.NOT_LISTED_YET: "not listed yet",
    SessionOutcome.MISSING: "no bar in the source: halted, or a gap",
    SessionOutcome.AFTER_LAST: "after the instrument's last bar",
}
