"""Asset-based data platform for portfolio agents on daily bars."""
