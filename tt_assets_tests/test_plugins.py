"""A distribution that is installed adds features, signals and rules, as a module named by a setting does."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tt_assets.errors import UserError
from tt_assets.grid.blueprint import blueprint
from tt_assets.research.registry import load_features, load_signals
from tt_assets.settings import Settings
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.rules.registry import load_rules, trading_modules

MODULE = """
    from tt_assets.research.registry import feature, signal
    from tt_assets.trading.rules.schemes import ActionScheme

    @feature(name="gap_2", lookback=2, unit="fraction")
    def gap_2(bars):
        "Open over the close two sessions before, less one."
        return bars.open / bars.close.shift(2) - 1

    @signal(name="against_gap", lookback=0, inputs=("gap_2",), method="-sign(gap_2)")
    def against_gap(bars, features):
        return -features["gap_2"] / features["gap_2"].abs()

    class Nothing(ActionScheme):
        name = "nothing"

        def scale(self, panel):
            return 0.0 * panel.close
"""

ENTRY_POINTS = """
    [tt_assets.features]
    gaps = gap_tools

    [tt_assets.signals]
    gaps = gap_tools

    [tt_assets.rules]
    gaps = gap_tools
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution on sys.path as an installer leaves it: its module and its dist-info."""
    folders = 0

    def put(source: str = MODULE, entries: str = ENTRY_POINTS) -> Path:
        nonlocal folders
        folder = tmp_path / f"site-{folders}"
        folders += 1
        of_dist = folder / "gap_tools-1.0.dist-info"
        of_dist.mkdir(parents=True)
        (folder / "gap_tools.py").write_text(textwrap.dedent(source))
        (of_dist / "METADATA").write_text("Metadata-Version: 2.1\nName: gap-tools\nVersion: 1.0\n")
        (of_dist / "entry_points.txt").write_text(textwrap.dedent(entries))
        monkeypatch.syspath_prepend(folder)
        return folder

    yield put
    sys.modules.pop("gap_tools", None)


def test_nothing_is_loaded_but_what_is_built_in_where_nothing_is_installed():
    assert trading_modules(()) == ()
    assert trading_modules(("own", "other", "own")) == ("own", "other")


def test_an_installed_distribution_adds_a_feature_a_signal_and_a_rule(install: Install):
    before = [item.name for item in load_features()]
    install()
    features = load_features()
    assert [item.name for item in features] == [*before, "gap_2"]
    assert load_signals((), features)[-1].name == "against_gap"
    assert trading_modules(()) == ("gap_tools",)
    assert "nothing" in load_rules(trading_modules(())).action_schemes
    assert "nothing" not in load_rules().action_schemes


def test_a_module_that_is_named_and_installed_is_loaded_once(install: Install):
    install()
    assert load_features(["gap_tools"]) == load_features()
    assert trading_modules(("gap_tools",)) == ("gap_tools",)


def test_a_config_names_the_modules_it_was_made_with_those_of_entry_points_too(install: Install):
    assert blueprint(Settings(_env_file=None)).trading.trading_modules == ()
    install()
    config = blueprint(
        Settings(_env_file=None, trading={"trading_modules": "tt_assets_tests.trading.rules.own_schemes"})
    ).trading
    assert config.trading_modules == ("tt_assets_tests.trading.rules.own_schemes", "gap_tools")
    assert json.loads(config.to_json())["trading_modules"] == [*config.trading_modules]


def test_reading_a_stored_config_imports_nothing(install: Install):
    install()
    stored = TradingConfig(trading_modules=("gap_tools",)).to_json()
    assert TradingConfig.from_json(stored).trading_modules == ("gap_tools",)
    assert "gap_tools" not in sys.modules


@pytest.mark.parametrize(
    ("source", "entries", "complaint"),
    [
        ("x = 1", ENTRY_POINTS, "has no feature of its own. Decorate one with @feature."),
        ("1 / 0", ENTRY_POINTS, "fails on import: ZeroDivisionError: division by zero. Mend it."),
        ("import a_library_nobody_has", ENTRY_POINTS, "fails on import: ModuleNotFoundError"),
        (MODULE, ENTRY_POINTS.replace("= gap_tools", "= gap_tools.nowhere"), "cannot be found. Fix the name"),
    ],
)
def test_what_is_wrong_with_an_installed_module_is_one_line_that_names_who_asks_for_it(
    install: Install, source: str, entries: str, complaint: str
):
    install(source, entries)
    with pytest.raises(UserError) as refused:
        load_features()
    assert complaint in str(refused.value)
    assert 'of entry point "gaps" in gap-tools' in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_that_is_taken_is_refused_with_both_modules(install: Install):
    install(MODULE.replace('name="gap_2"', 'name="vol_20"'))
    with pytest.raises(UserError, match=r'feature "vol_20" is in both tt_assets.research.features and gap_tools'):
        load_features()


def test_an_entry_point_names_a_module_and_nothing_in_it(install: Install):
    install(entries=ENTRY_POINTS.replace("= gap_tools", "= gap_tools:gap_2"))
    with pytest.raises(UserError, match=r'"gap_tools:gap_2", which is no module. Name the module alone: "gap_tools"'):
        load_features()
    with pytest.raises(UserError, match=r"in group tt_assets\.rules"):
        trading_modules(())


def test_another_process_finds_the_same(install: Install):
    folder = install()
    program = "from tt_assets.research.registry import load_features; print(load_features()[-1].name)"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "gap_2"
