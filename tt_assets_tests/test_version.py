"""The version stands in one place."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from tt_assets import __version__
from tt_assets.cli import commands

TOP = Path(__file__).parents[1]


def test_the_command_line_says_the_version_of_the_package():
    assert CliRunner().invoke(commands, ["--version"], prog_name="tt").output == f"tt, version {__version__}\n"


def test_no_other_file_says_which_version_it_is():
    assert not re.search(r"\bversion\s*=\s*[\"']", (TOP / "setup.py").read_text("utf-8"))
    assert f"## [{__version__}] - " in (TOP / "CHANGELOG.md").read_text("utf-8")
