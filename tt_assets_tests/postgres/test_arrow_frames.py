"""Frames of queries: what ADBC knows of a database outlives the server's restart."""

import pandas as pd
from psycopg import sql

from tt_assets.postgres.arrow_frames import read_frame, read_frames
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer

ROW = sql.SQL("SELECT 'σ' AS name, 1.5::float8 AS value, NULL::float8 AS missing, TIMESTAMP '2012-05-18' AS at")


def test_a_query_is_a_frame_before_and_after_the_server_was_restarted(server_home):
    server = EmbeddedServer(server_home)
    server.ensure()
    database = Database.on(server, "postgres")
    expected = pd.DataFrame(
        {"name": ["σ"], "value": [1.5], "missing": [float("nan")], "at": pd.to_datetime(["2012-05-18"])}
    ).astype({"at": "datetime64[ns]"})
    for _ in range(2):
        pd.testing.assert_frame_equal(read_frame(database, ROW), expected)
        server.stop("fast")
        server.ensure()


def test_queries_read_together_are_of_one_moment(empty_tables):
    own = sql.SQL("SELECT txid_current_if_assigned() AS x, pg_backend_pid() AS pid, now() AS at")
    first, second = read_frames(empty_tables, [own, own])
    pd.testing.assert_frame_equal(first, second)
    (other,) = read_frames(empty_tables, [own])
    assert (other["pid"] != first["pid"]).all()  # and no connection is left over for the next
