from tt_assets.research.registry import feature


@feature(name="peek_1", lookback=1, unit="fraction")
def peek_1(bars):
    """Tomorrow's return."""
    return bars.close.shift(-1) / bars.close - 1


@feature(name="zall", lookback=0, unit="sigmas")
def zall(bars):
    """Close standardised over everything there is."""
    return (bars.close - bars.close.mean()) / bars.close.std()


@feature(name="short_lb", lookback=2, unit="fraction")
def short_lb(bars):
    """Needs ten sessions, says two."""
    return bars.close / bars.close.rolling(10).mean() - 1
