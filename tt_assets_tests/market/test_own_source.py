"""Price sources of a person's own: the one on the page of the docs against a server, and ones that break it."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from tt_assets.errors import UserError
from tt_assets.market.bars import BAR_COLUMNS
from tt_assets.market.own_source import PriceSourceError, answered, open_source
from tt_assets.market.sources import BarRequest, Fetched, FetchResult, NotFetched, Outcome
from tt_assets.settings import Settings
from tt_assets.testing import check_price_source
from tt_assets_tests.docs.pages import DOCS, Page

FIRST, LAST = date(2014, 1, 2), date(2014, 1, 10)
DAYS = ["2014-01-02", "2014-01-03", "2014-01-06", "2014-01-07", "2014-01-08", "2014-01-09", "2014-01-10"]
BARS = [{"timestamp": day, "open": 10, "high": 12, "low": 9, "close": 11, "volume": 5} for day in DAYS]
ASKED = BarRequest("ACME", FIRST, LAST)


class Vendor(ThreadingHTTPServer):
    """Three bars a page; answers the first `busy` requests with 429."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.busy = 0
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    """Answers of `Vendor`."""

    server: Vendor

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append(self.path)
        if self.server.busy:
            self.server.busy -= 1
            self.send_response(429)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path != "/ACME":
            self.send_error(404)
            return
        found = [bar for bar in BARS if query["from"] <= str(bar["timestamp"]) <= query["to"]]
        page = int(query["page"])
        told = {"bars": found[3 * page - 3 : 3 * page], "next": page + 1 if len(found) > 3 * page else None}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    server = Vendor()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("BARS_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("BARS_PAUSE", "0.001")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def my_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The module of the page, where Python finds it."""
    (source, _) = Page(DOCS / "price-sources.md").python
    path = tmp_path / "my_prices.py"
    path.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield path
    sys.modules.pop("my_prices", None)


def test_the_source_of_the_page_holds_the_contract(vendor: Vendor, my_prices: Path):
    source = open_source("my_prices:HttpBars")
    check_price_source(source, "ACME", FIRST, LAST)
    (found,) = source.fetch([ASKED])
    assert isinstance(found, Fetched)
    assert found.bars["timestamp"].dt.strftime("%Y-%m-%d").tolist() == DAYS
    assert [path.rsplit("page=")[1] for path in vendor.asked[-3:]] == ["1", "2", "3"]


def test_it_waits_and_asks_again_where_it_is_told_to_and_not_for_ever(vendor: Vendor, my_prices: Path):
    source = open_source("my_prices:HttpBars")
    vendor.busy = 2
    (found,) = source.fetch([ASKED])
    assert isinstance(found, Fetched)
    assert len(found.bars) == len(DAYS)
    vendor.busy = 100
    (lost,) = source.fetch([ASKED])
    assert isinstance(lost, NotFetched)
    assert lost.outcome is Outcome.UNAVAILABLE
    assert "answered 429 for ACME. Run it again later." in lost.reason


def test_bad_rows_are_faults_of_their_sessions():
    rows = pd.DataFrame(BARS)
    rows.loc[1, "high"] = 1
    found = answered(ASKED, rows)
    assert [str(fault.session) for fault in found.faults] == ["2014-01-03"]
    assert len(found.bars) == len(DAYS) - 1
    assert (found.listed, found.last) == (FIRST, LAST)


def own(answer: Callable[[BarRequest], object]) -> object:
    class Own:
        def fetch(self, requests: Sequence[BarRequest]) -> list[object]:
            return [answer(request) for request in requests]

    return Own()


def good(request: BarRequest) -> FetchResult:
    if request.instrument != "ACME":
        return NotFetched(request, Outcome.UNKNOWN_INSTRUMENT, "unknown. Correct it.")
    days = pd.to_datetime(DAYS)
    inside = (days >= pd.Timestamp(request.first)) & (days <= pd.Timestamp(request.last))
    return answered(request, pd.DataFrame(BARS)[inside], listed=FIRST, last=LAST)


def with_bars(change: Callable[[pd.DataFrame], pd.DataFrame]) -> object:
    def answer(request: BarRequest) -> FetchResult:
        told = good(request)
        return Fetched(request, change(told.bars), (), FIRST, LAST) if isinstance(told, Fetched) else told

    return own(answer)


BREACHES = {
    "an empty frame for an unknown name": (
        own(lambda r: Fetched(r, pd.DataFrame(columns=list(BAR_COLUMNS)), (), None, None)),
        "answered with Fetched; answer NotFetched",
    ),
    "a frame": (own(lambda r: pd.DataFrame()), "is a DataFrame, neither Fetched nor NotFetched"),
    "a time zone": (
        with_bars(lambda bars: bars.assign(timestamp=bars["timestamp"].dt.tz_localize("UTC"))),
        "without a time zone",
    ),
    "the whole history": (with_bars(lambda bars: answered(ASKED, pd.DataFrame(BARS)).bars), "lies outside"),
    "newest first": (with_bars(lambda bars: bars[::-1]), "do not ascend"),
    "a price of zero": (with_bars(lambda bars: bars.assign(low=0.0)), "price not finite and positive"),
    "another instrument": (with_bars(lambda bars: bars.assign(instrument="ZZ")), "bars of ZZ were not asked"),
    "a column too few": (with_bars(lambda bars: bars.drop(columns="volume")), "the columns are"),
    "no reason": (own(lambda r: NotFetched(r, Outcome.NO_BARS, "")), "gives no reason"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BREACHES)
def test_a_source_that_breaks_the_contract_is_told_so(kind: str):
    source, words = BREACHES[kind]
    with pytest.raises(AssertionError, match=words):
        check_price_source(source, "ACME", FIRST, LAST)  # type: ignore[arg-type]
    check_price_source(own(good), "ACME", FIRST, LAST)  # type: ignore[arg-type]


def test_a_wrong_answer_costs_its_own_instrument_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "wrong_prices.py").write_text(
        "from tt_assets_tests.market.test_own_source import good\n"
        "class Own:\n"
        "    def fetch(self, requests):\n"
        "        return [good(r) if r.instrument == 'ACME' else None for r in requests]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found, lost = open_source("wrong_prices:Own").fetch([ASKED, BarRequest("ZZ", FIRST, LAST)])
    assert isinstance(found, Fetched)
    assert isinstance(lost, NotFetched)
    assert (
        lost.reason
        == "wrong_prices:Own: ZZ: the answer is a NoneType, neither Fetched nor NotFetched. Mend the source."
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:Own", 'no module "no_such_module"'),
        ("json:Own", "has no class Own with a method fetch"),
        ("my_prices:HttpBars", r"HttpBars\(\) fails: KeyError: 'BARS_URL'"),
    ],
)
def test_a_source_that_cannot_be_opened_is_one_line(my_prices: Path, name: str, words: str):
    with pytest.raises(PriceSourceError, match=words) as caught:
        open_source(name)
    assert "\n" not in str(caught.value)


def test_the_setting_takes_a_class_and_the_two_that_are_built_in(tmp_path: Path):
    assert Settings(home=tmp_path, price_source="my_prices:HttpBars").price_source == "my_prices:HttpBars"
    assert Settings(home=tmp_path, price_source="files").is_sample
    with pytest.raises((UserError, ValueError), match="no installed source has that name"):
        Settings(home=tmp_path, price_source="yahoo")
