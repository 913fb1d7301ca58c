"""The picture of the rooms is that of the import contract."""

from __future__ import annotations

import re
import tomllib

from tt_assets_tests.docs.pages import DOCS, TOP


def test_the_rooms_stand_in_the_order_of_the_contract():
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["tt_assets"]]
    rooms = [re.sub(r"[()]", "", room).strip() for layer in layers for room in re.split(r"[:|]", layer)]
    drawn = re.findall(r"^│ ([\w ·]+?)  ", (DOCS / "architecture.md").read_text("utf-8"), re.MULTILINE)
    assert [room for line in drawn for room in line.split(" · ")] == rooms
