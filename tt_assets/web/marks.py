"""At which price pages mark what is held at a close: as the books do, at the last close up to then."""

MARKED_HOLDINGS = """
    JOIN tt_holdings AS h ON h.portfolio_id = p.id
    LEFT JOIN tt_prices AS b ON b.instrument = h.instrument AND b.timestamp = p.timestamp
"""
"""What is held at the closes of the portfolios `p`, and its bars of these sessions, which a late one has none of."""

MARK = """coalesce(b.close, (SELECT late.close FROM tt_prices AS late WHERE late.instrument = h.instrument
                                AND late.timestamp < p.timestamp ORDER BY late.timestamp DESC LIMIT 1), 0)"""
"""The price of a row of `MARKED_HOLDINGS`; looked for row by row only where a session has no bar."""
