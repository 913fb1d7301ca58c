"""What runs of `tt up` are forked from has imported what they need, and has one Python thread."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tt_assets.runtime.warmed import AT_WORK

SAY = """
import threading, sys
import tt_assets.runtime.warmed
print(threading.active_count(), *(name in sys.modules for name in sys.argv[1:]))
"""


@pytest.mark.parametrize("name", AT_WORK)
def test_what_it_imports_is_there(name: str) -> None:
    assert find_spec(name) is not None


def test_it_has_one_python_thread_and_the_platform_and_no_torch() -> None:
    asked = ("tt_assets.definitions", "matplotlib.backends.backend_agg", "torch")
    said = subprocess.run([sys.executable, "-c", SAY, *asked], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "True", "True", "False"]
