"""What the price source holds now: up to which session, and whether it has changed since.

A source has a fingerprint, and every run of a sensor carries it as a tag. What was tried in vain on one
state of the bars file is tried anew on the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from tt_assets.errors import UserError
from tt_assets.grid.bars_files import bars_manifest
from tt_assets.grid.horizon import bars_span, horizon
from tt_assets.market.files import fingerprint
from tt_assets.settings import DateGrain, PriceSourceName, Settings


@dataclass(frozen=True)
class SourceState:
    """`latest` is the last session the source can have a bar of. `trouble` says why it has none, else empty."""

    fingerprint: str
    latest: date | None
    trouble: str = ""

    def last_key(self, grain: DateGrain) -> str:
        """Date key of the partition that holds `latest`; the empty text, which is before all keys, without one."""
        if self.latest is None:
            return ""
        return grain.key_of(self.latest).isoformat()


def read_source(settings: Settings) -> SourceState:
    """The state of the configured source; a bars file that cannot be read is said, not raised."""
    bound = horizon(settings).latest_session()
    if settings.price_source is not PriceSourceName.FILE:
        return SourceState(str(settings.price_source), bound)
    try:
        state = fingerprint(settings.bars_path, settings.bars_options)
    except UserError as error:
        return SourceState("", None, str(error))
    span = bars_span(settings)
    if span is None:
        return SourceState(state, None, _why_unreadable(settings))
    return SourceState(state, min(bound, span[1]))


def _why_unreadable(settings: Settings) -> str:
    try:
        bars_manifest(settings)
    except UserError as error:
        return str(error)
    return f"{settings.bars_path} changed while it was read."
