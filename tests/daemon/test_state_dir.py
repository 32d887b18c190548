"""Whose the state directory is, and what another user is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.state_dir import another_users
from metalwright.errors import SettingsError

from .conftest import Rig

NOBODY = 65534


def somebodys(directory: Path) -> int:
    """The owner of a directory, who is not root."""
    if directory.stat().st_uid == 0:
        os.chown(directory, NOBODY, -1)
    return directory.stat().st_uid


def anything(_path: Path) -> bool:
    return True


def none_of(name: str) -> Callable[[Path], bool]:
    return lambda path: path.name != name


def test_root_leaves_nothing_in_the_directory_of_another_user(tmp_path: Path) -> None:
    owner = somebodys(tmp_path)
    said = another_users(tmp_path, [tmp_path], 0, anything)
    assert "belongs to" in said
    assert "`sudo -u" in said
    assert another_users(tmp_path, [tmp_path], owner, anything) == ""


def test_another_user_is_told_the_file_and_whose_it_is(tmp_path: Path) -> None:
    store = tmp_path / "metalwright.sqlite"
    store.touch()
    me = tmp_path.stat().st_uid
    said = another_users(tmp_path, [tmp_path, store], me + 4711, none_of(store.name))
    assert said.startswith(f"{store} belongs to ")
    assert f"cannot be written by #{me + 4711}: run this as that user" in said


def test_what_root_left_behind_is_named_with_the_way_to_give_it_back(tmp_path: Path) -> None:
    lock = tmp_path / "fleet.lock"
    lock.touch()
    owner = somebodys(tmp_path)
    if lock.stat().st_uid == owner:  # not run by root: it is a file of somebody else's all the same
        said = another_users(Path("/"), [lock], owner, none_of(lock.name))
    else:
        said = another_users(tmp_path, [lock], owner, none_of(lock.name))
    assert f"`chown {'root' if lock.stat().st_uid == owner else 'nobody'} {lock}`" in said


def test_a_command_of_root_does_not_begin_there(rig: Rig) -> None:
    settings = rig.settings()
    settings.state_dir.mkdir()
    if os.geteuid() != 0:
        settings.state_dir.chmod(0o500)
    somebodys(settings.state_dir)
    with (
        pytest.raises(SettingsError, match="sudo -u"),
        open_fleet(settings, drive=False, wake=lambda: None),
    ):
        pass
    assert list(settings.state_dir.iterdir()) == []
