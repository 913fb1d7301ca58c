"""A `.env` of the folder one is in says how to work, never which code to run; that of TT_HOME and TT_ENV_FILE may."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_assets.errors import UserError
from tt_assets.settings import Settings
from tt_assets.settings.variables import misspelt, written

CODE = {
    "TT_FEATURE_MODULES": "mine",
    "TT_SIGNAL_MODULES": "mine",
    "TT_TRADING_MODULES": "mine",
    "TT_LEARNER_MODULES": "mine",
    "TT_PG_BIN": "/mine",
}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An own place with a file of settings, and a folder one is in that is somebody else's; TT_HOME between them."""
    own, here = tmp_path / "own", tmp_path / "here"
    for folder in (own, here, tmp_path / "home"):
        folder.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    monkeypatch.setitem(Settings.model_config, "env_file", (str(own / ".env"), ".env"))
    return own, here


def lines(values: dict[str, str]) -> str:
    return "".join(f"{name}={text}\n" for name, text in values.items())


def values_of(settings: Settings) -> set[str]:
    trading = settings.trading
    return {
        *settings.feature_modules,
        *settings.signal_modules,
        *trading.trading_modules,
        *trading.learner_modules,
        str(settings.pg_bin),
    }


def test_the_folder_one_is_in_names_no_code(folders: tuple[Path, Path]) -> None:
    _, here = folders
    (here / ".env").write_text(lines(CODE) + "TT_SEEDS=7\n")
    assert values_of(Settings()) == {"None"}
    assert written()["TT_SEEDS"].text == "7"
    assert set(written()) & set(CODE) == set()
    told = misspelt()
    assert {name for name in CODE if any(line.startswith(f"{name} in {here}") for line in told)} == set(CODE)
    assert all("TT_ENV_FILE" in line for line in told)


@pytest.mark.parametrize("place", ["own", "home", "named"])
def test_ones_own_files_may(
    folders: tuple[Path, Path], place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, here = folders
    file = {"own": own / ".env", "home": tmp_path / "home" / ".env", "named": here / "my.env"}[place]
    file.write_text(lines(CODE))
    if place == "named":
        monkeypatch.setenv("TT_ENV_FILE", str(file))
    assert values_of(Settings()) == {"mine", "/mine"}
    assert misspelt() == []
    assert {written()[name].origin for name in CODE} == {str(file)}


def test_a_home_that_the_folder_one_is_in_names_is_not_believed(folders: tuple[Path, Path], monkeypatch) -> None:
    _, here = folders
    monkeypatch.delenv("TT_HOME")
    (here / "trap").mkdir()
    (here / "trap" / ".env").write_text(lines(CODE))
    (here / ".env").write_text(f"TT_HOME={here / 'trap'}\nTT_ENV_FILE={here / 'trap' / '.env'}\n")
    assert Settings().home == here / "trap"
    assert values_of(Settings()) == {"None"}


def test_later_files_win(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own, here = folders
    files = [own / ".env", tmp_path / "home" / ".env", here / ".env", here / "my.env"]
    monkeypatch.setenv("TT_ENV_FILE", "my.env")
    for index, file in enumerate(files):
        file.write_text(f"TT_TRAIN_STEPS={1_000 * (index + 1)}\n")
        assert Settings().trading.train_steps == 1_000 * (index + 1)
    monkeypatch.setenv("TT_TRAIN_STEPS", "9000")
    assert Settings().trading.train_steps == 9_000


@pytest.mark.parametrize("place", ["TT_HOME", "TT_ENV_FILE"])
def test_settings_that_cannot_be_looked_for_are_told_in_one_line(
    folders: tuple[Path, Path], place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(place, str(tmp_path / ("n" * 300) / "x"))
    with pytest.raises(UserError, match=r"cannot be read \(File name too long\)") as told:
        Settings()
    assert "TT_HOME or TT_ENV_FILE" in str(told.value)


def test_a_file_of_settings_that_is_no_text_is_told_in_one_line(folders: tuple[Path, Path]) -> None:
    (folders[0] / ".env").write_bytes(b"TT_SEEDS=\xff\xfe\n")
    with pytest.raises(UserError, match="no text in UTF-8"):
        misspelt()  # which every command asks before it makes its settings
