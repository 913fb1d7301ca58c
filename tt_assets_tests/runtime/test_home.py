"""TT_HOME is closed to others, and a home, a lock file or a link that somebody else could swap is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tt_assets.errors import UserError
from tt_assets.runtime import in_use
from tt_assets.runtime.home import make_home
from tt_assets.settings import Settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
NOBODY = 65_534


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_home_is_closed_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_home(tmp_path / "home")
    finally:
        os.umask(before)
    mode = stat.S_IMODE((tmp_path / "home").stat().st_mode)
    assert mode == (0o711 if os.geteuid() == 0 else 0o700)  # the account of root's server passes through


def test_a_home_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_home(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@as_root
@pytest.mark.parametrize("taken", ["home", "lock"])
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, taken: str) -> None:
    home = tmp_path / "home"
    make_home(home)
    (home / "in_use.lock").touch()
    os.chown(home if taken == "home" else home / "in_use.lock", NOBODY, NOBODY)
    with pytest.raises(UserError, match=r"belongs to user 65534, you are 0: .*TT_HOME"):
        in_use.hold(Settings(home=home))


def test_no_link_is_followed_to_a_lock(tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "target"
    make_home(home)
    (home / "up.lock").symlink_to(target)
    with pytest.raises(UserError, match="symbolic link"):
        in_use.lock_file(Settings(home=home), "up.lock")
    assert not target.exists()


@as_root
def test_no_link_of_somebody_elses_is_followed_to_a_home(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    make_home(tmp_path / "home")  # one's own link is one's own affair
    os.chown(tmp_path / "home", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(UserError, match="belongs to user"):
        make_home(tmp_path / "home")


def test_a_file_in_the_place_of_a_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(UserError, match="is no folder"):
        make_home(tmp_path / "home")
