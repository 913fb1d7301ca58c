"""What a load took and how it ended, for people and for run metadata."""

from __future__ import annotations

from dataclasses import dataclass

from tt_assets.errors import counted
from tt_assets.market.ibkr.loader import Retry
from tt_assets.market.ibkr.pacing import clock
from tt_assets.market.ibkr.plan import IbkrPlan
from tt_assets.market.sources import FetchResult, Outcome


@dataclass(frozen=True)
class LoadReport:
    """What a load took: requests sent, sessions after the first, attempts repeated, wall time in seconds."""

    history_requests: int = 0
    head_requests: int = 0
    details_requests: int = 0
    reconnects: int = 0
    retries: tuple[Retry, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class IbkrLoad:
    """One result per request, in their order, the plan they came from and what they took."""

    results: tuple[FetchResult, ...]
    plan: IbkrPlan
    report: LoadReport

    def by_outcome(self) -> dict[Outcome, tuple[str, ...]]:
        """The instruments of each outcome there was."""
        named: dict[Outcome, list[str]] = {}
        for result in self.results:
            named.setdefault(result.outcome, []).append(result.request.instrument)
        return {outcome: tuple(symbols) for outcome, symbols in named.items()}

    def __str__(self) -> str:
        """One line for people: requests, time, and per outcome which instruments."""
        report = self.report
        count = report.history_requests
        words = [f"IBKR: {counted(count, 'historical request')} in {clock(report.seconds)}"]
        if report.retries:
            words.append(f"{len(report.retries)} attempts repeated")
        if report.reconnects:
            words.append(f"{report.reconnects} reconnects")
        for outcome, symbols in self.by_outcome().items():
            named = "" if outcome is Outcome.LOADED else f" ({', '.join(symbols)})"
            words.append(f"{outcome.replace('_', ' ')}: {len(symbols)}{named}")
        return "; ".join(words) + "."
