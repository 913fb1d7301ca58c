"""`python -m tt_assets_tests.benchmarks NAME` prints the figures of benchmarks as JSON lines; without one: the list."""

from __future__ import annotations

import json
import sys

from tt_assets.errors import UserError
from tt_assets_tests.benchmarks import BENCHMARKS, run


def main(arguments: list[str]) -> int:
    """Run the named benchmarks one after the other; 2 for a name that is unknown."""
    if not arguments:
        for name, meaning in BENCHMARKS.items():
            print(f"{name:10} {meaning}")
        return 0
    try:
        for name in arguments:
            for line in run(name):
                print(json.dumps(line), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
