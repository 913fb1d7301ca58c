"""What a test may lack: skipped by a developer's machine, and an error where every change is judged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tt_assets.settings import checkout
from tt_assets_tests.conftest import WITHOUT_CLUSTER, need_cluster
from tt_assets_tests.e2e.ray_cluster import Cluster, NoRay, head_or_skip

ABSENT = "tt_package_that_nobody_has"
SKIPPED = pytest.skip.Exception


@pytest.fixture(autouse=True)
def _a_developers_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv(WITHOUT_CLUSTER, raising=False)


def test_what_is_there_is_given() -> None:
    assert [module.__name__ for module in need_cluster("json", "csv")] == ["json", "csv"]


def test_a_developer_without_it_is_told_what_brings_it() -> None:
    with pytest.raises(SKIPPED, match=rf"{ABSENT}.*make cluster"):
        need_cluster("json", ABSENT)


def test_where_a_change_is_judged_it_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ModuleNotFoundError, match=ABSENT):
        need_cluster(ABSENT)


def test_a_mirror_that_lacks_it_has_to_be_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv(WITHOUT_CLUSTER, "true")
    with pytest.raises(SKIPPED):
        need_cluster(ABSENT)


def test_only_a_failed_installation_declares_it() -> None:
    top = checkout()
    assert top is not None
    said = (top / ".ci" / "run").read_text("utf-8")
    assert re.search(rf"^if ! make cluster; then\n(  .*\n)*  export {WITHOUT_CLUSTER}=true\nfi$", said, re.MULTILINE)
    assert said.count(f"{WITHOUT_CLUSTER}=") == 1


def test_a_ray_that_does_not_start_is_no_excuse_where_a_change_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_at_once(self: Cluster) -> None:
        raise NoRay("no room for its store")

    monkeypatch.setattr(Cluster, "start_head", ends_at_once)
    cluster = Cluster(tmp_path, "postgresql://nobody", {})
    with pytest.raises(SKIPPED, match="no room"):
        head_or_skip(cluster)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv(WITHOUT_CLUSTER, "true")
    with pytest.raises(NoRay):
        head_or_skip(cluster)


def test_nobody_skips_in_a_way_of_their_own() -> None:
    ways = re.compile(r"^[^#\"']*\bimportorskip\(", re.MULTILINE)
    modules = Path(__file__).parent.rglob("*.py")
    assert [str(module) for module in modules if ways.search(module.read_text("utf-8"))] == []
