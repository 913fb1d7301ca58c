"""What holds the documentation against the code: the reference pages are built from it, the rest is checked."""
