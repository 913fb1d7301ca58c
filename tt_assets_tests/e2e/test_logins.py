"""Every statement of a load, a training and the pages of `tt`, as the embedded server saw it: whose were they?"""

from __future__ import annotations

import re

import pytest

from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets_tests.e2e.command_line import machine

pytestmark = pytest.mark.slow

SMALL = {"TT_SEEDS": "1", "TT_TRAIN_STEPS": "256", "TT_TRAIN_WINDOWS": "1", "TT_BASELINES": "cash", "TT_PICTURES": "0"}
STATEMENT = re.compile(r"<(\w+)@(\w+)>LOG:\s+(?:statement|execute [^:]*): (.*)")
OF_ROWS = re.compile(
    r"\b(?:FROM|INTO|UPDATE|COPY|TABLE|JOIN)\s+\(?\"?(?:tt_\w+|event_logs|runs|asset_keys)\b", re.IGNORECASE
)


def test_the_superuser_neither_reads_nor_writes_a_row_of_the_platform() -> None:
    with machine(**SMALL) as here:
        assert here.tt("db", "upgrade").returncode == 0
        for statement in ("log_line_prefix = '<%u@%d>'", "log_statement = 'all'"):
            assert here.tt("db", "psql", "--owner", "-c", f"ALTER SYSTEM SET {statement}").returncode == 0
        assert here.tt("db", "psql", "--owner", "-c", "SELECT pg_reload_conf()").returncode == 0
        span = ("--from", "2011-09-01", "--to", "2012-06-29", "--instruments", "AAPL")
        for command in (
            ("backfill", "market", *span),
            ("backfill", "agents", "--from", "2012-04-02", *span[2:]),
            ("status",),
            ("status", "--partitions"),
            ("report",),
        ):
            done = here.tt(*command)
            assert done.returncode == 0, done.stdout + done.stderr
        refused = here.tt("db", "psql", "-c", "DROP TABLE tt_prices")
        assert "must be owner" in refused.stderr
        log = EmbeddedServer(here.home).log.read_text(errors="replace")
    said = STATEMENT.findall(log)
    writers = {(user, base) for user, base, text in said if re.match(r"COPY|INSERT|UPDATE|DELETE", text)}
    assert writers == {("tt_platform", "tt"), ("tt_dagster", "dagster")}
    assert not [text for user, _, text in said if user == "postgres" and OF_ROWS.search(text)]
