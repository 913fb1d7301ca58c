"""Advisory locks by table and instrument: what orders the writers of slices and of the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from psycopg import Connection

LOCKS_PER_TABLE = 256
"""Instruments share this many locks a table: a stock server has room for about 6,400 locks in all."""


def lock_instruments(connection: Connection[Any], table: str, instruments: Iterable[str]) -> None:
    """Hold advisory locks until the transaction ends; taken in sorted order, so that nobody waits in a circle.

    Parameters
    ----------
    connection : in a transaction.
    table : each has locks of its own.
    instruments : in any order, repetitions too.
    """
    numbers = sorted({_lock_number(table, name) for name in set(instruments)})
    connection.execute("SELECT pg_advisory_xact_lock(n) FROM unnest(%s::bigint[]) AS n", [numbers])


def _lock_number(table: str, instrument: str) -> int:
    # Python's hash is salted per process; this one is the same everywhere.
    space = int.from_bytes(hashlib.blake2b(table.encode(), digest_size=6).digest(), "big")
    bucket = int.from_bytes(hashlib.blake2b(instrument.encode(), digest_size=4).digest(), "big") % LOCKS_PER_TABLE
    return space * LOCKS_PER_TABLE + bucket
