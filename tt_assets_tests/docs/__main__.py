"""`make docs` writes the reference pages; with `--check` it only says which of them are out of date, exit code 1."""

from __future__ import annotations

import sys

from tt_assets_tests.docs.reference import REMEDY, out_of_date, write_pages


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them."""
    if arguments == ["--check"]:
        stale = out_of_date()
        for name in stale:
            print(f"docs/{name} does not say what the code says; {REMEDY}.", file=sys.stderr)
        return 1 if stale else 0
    for name in write_pages():
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
