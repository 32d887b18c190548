"""Secrets are found where they should be, refused where others could read them, and never shown."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from metalwright.drivers.credentials import VALUE_BYTES_MAX, Credentials, Secrets
from metalwright.errors import SettingsError

REF = "bmc/rack-a"
USERNAME, PASSWORD = "u5er-name", "pa55-w0rd"
VARIABLES = {
    "METALWRIGHT_SECRET_BMC_RACK_A_USERNAME": USERNAME,
    "METALWRIGHT_SECRET_BMC_RACK_A_PASSWORD": PASSWORD,
}


def write(directory: Path, username: str = USERNAME, password: str = PASSWORD) -> Path:
    """A secret of REF, written as it should be."""
    secret = directory / REF
    secret.mkdir(parents=True, exist_ok=True)
    for folder in (directory, directory / "bmc", secret):
        folder.chmod(0o700)
    for name, value in (("username", username), ("password", password)):
        path = secret / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(value)
    return secret


def give_away(path: Path) -> None:
    """Make a file or directory belong to somebody who is neither root nor us."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12_345, 12_345)


def refused(secrets: Secrets, ref: str = REF) -> str:
    """The message of the refusal, which shows no secret, nor does its whole traceback."""
    with pytest.raises(SettingsError) as caught:
        secrets.get(ref)
    told = "".join(traceback.format_exception(caught.value))
    assert USERNAME not in told
    assert PASSWORD not in told
    assert ref in str(caught.value)
    return str(caught.value)


def test_a_directory_is_read(tmp_path: Path) -> None:
    write(tmp_path, USERNAME + "\n", PASSWORD + "\r\n")
    found = Secrets(tmp_path, {}).get(REF)
    assert (found.username, found.password) == (USERNAME, PASSWORD)


def test_the_environment_is_read_where_the_directory_has_nothing(tmp_path: Path) -> None:
    for secrets in (Secrets(None, VARIABLES), Secrets(tmp_path, VARIABLES)):
        found = secrets.get(REF)
        assert (found.username, found.password) == (USERNAME, PASSWORD)
    write(tmp_path, password="from-the-directory")
    assert Secrets(tmp_path, VARIABLES).get(REF).password == "from-the-directory"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o500, 0o700])
def test_private_files_and_directories_are_read(tmp_path: Path, mode: int) -> None:
    secret = write(tmp_path)
    (secret / "password").chmod(mode)
    if mode & 0o100:
        secret.chmod(mode)
    assert Secrets(tmp_path, {}).get(REF).password == PASSWORD


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o644, 0o666, 0o777, 0o601])
@pytest.mark.parametrize("name", ["username", "password"])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    path = write(tmp_path) / name
    path.chmod(mode)
    told = refused(Secrets(tmp_path, {}))
    assert str(path) in told
    assert f"{mode:04o}" in told


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o722])
@pytest.mark.parametrize("below", [".", "bmc", REF])
def test_a_directory_that_others_can_change_is_refused(
    tmp_path: Path, below: str, mode: int
) -> None:
    write(tmp_path)
    (tmp_path / below).chmod(mode)
    assert f"{mode:04o}" in refused(Secrets(tmp_path, {}))


def test_only_ours_and_roots_files_are_read(tmp_path: Path) -> None:
    secret = write(tmp_path)
    give_away(secret / "password")
    assert "belongs to user 12345" in refused(Secrets(tmp_path, {}))
    write(tmp_path)
    give_away(tmp_path / "bmc")
    assert "belongs to user 12345" in refused(Secrets(tmp_path, {}))


def test_a_secret_mounted_by_kubernetes_is_read_and_rotated(tmp_path: Path) -> None:
    mount = tmp_path / REF
    write(tmp_path)
    for name in ("username", "password"):
        (mount / name).unlink()
        (mount / name).symlink_to(f"..data/{name}")

    def generation(number: int, password: str) -> None:
        folder = mount / f"..2026_{number}"
        folder.mkdir(mode=0o700)
        for name, value in (("username", USERNAME), ("password", password)):
            (folder / name).touch(mode=0o400)
            (folder / name).write_text(value)
        (mount / "..fresh").symlink_to(folder.name)
        (mount / "..fresh").replace(mount / "..data")

    generation(1, PASSWORD)
    secrets = Secrets(tmp_path, {})
    first = secrets.get(REF)
    assert first.password == PASSWORD
    generation(2, "rotated")
    assert secrets.get(REF).password == "rotated"
    assert secrets.get(REF).version != first.version


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make directories of root")
def test_kubernetes_gives_directories_of_root_that_others_may_list(tmp_path: Path) -> None:
    secret = write(tmp_path)
    secret.chmod(0o1777)
    (tmp_path / "bmc").chmod(0o755)
    assert Secrets(tmp_path, {}).get(REF).password == PASSWORD


@pytest.mark.parametrize("target", ["file", "folder"])
def test_a_link_out_of_the_directory_is_refused(tmp_path: Path, target: str) -> None:
    outside = write(tmp_path / "outside")
    inside = write(tmp_path / "inside")
    if target == "file":
        (inside / "password").unlink()
        (inside / "password").symlink_to(outside / "password")
    else:
        for name in ("username", "password"):
            (inside / name).unlink()
        inside.rmdir()
        inside.symlink_to(outside)
    assert "leads out of" in refused(Secrets(tmp_path / "inside", {}))


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    secret = write(tmp_path)
    (secret / "password").unlink()
    (secret / "password").symlink_to("password")
    refused(Secrets(tmp_path, {}))


def test_what_is_not_there_is_told_with_every_place_looked_at(tmp_path: Path) -> None:
    told = refused(Secrets(tmp_path, {}))
    assert str(tmp_path / REF) in told
    for name in VARIABLES:
        assert name in told


@pytest.mark.parametrize("name", ["username", "password"])
def test_half_a_secret_is_refused(tmp_path: Path, name: str) -> None:
    secret = write(tmp_path)
    (secret / name).unlink()
    assert str(secret / name) in refused(Secrets(tmp_path, VARIABLES))
    variable = f"METALWRIGHT_SECRET_BMC_RACK_A_{name.upper()}"
    rest = {key: value for key, value in VARIABLES.items() if key != variable}
    assert variable in refused(Secrets(None, rest))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"two\nlines", b"nul\0", b"\xff\xfe", PASSWORD.encode() * VALUE_BYTES_MAX],
    ids=["empty", "blank", "lines", "nul", "binary", "huge"],
)
def test_what_is_no_line_of_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path) / "password"
    path.write_bytes(content)
    assert str(path) in refused(Secrets(tmp_path, {}))


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    path = write(tmp_path) / "password"
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "is not a file" in refused(Secrets(tmp_path, {}))
    path.unlink()
    path.mkdir(mode=0o700)
    refused(Secrets(tmp_path, {}))


@pytest.mark.parametrize(
    "ref", ["../etc", "/etc", "bmc/../x", "", "bmc//a", "BMC/a", "a/.b", "a\n"]
)
def test_what_is_no_reference_is_refused(tmp_path: Path, ref: str) -> None:
    with pytest.raises(SettingsError, match="not a credentials reference"):
        Secrets(tmp_path, {}).get(ref)


def test_no_rendering_shows_a_value(tmp_path: Path) -> None:
    write(tmp_path)
    secrets = Secrets(tmp_path, VARIABLES)
    found = secrets.get(REF)
    for shown in (repr(found), str(found), f"{found}", repr(secrets), repr([found])):
        assert USERNAME not in shown
        assert PASSWORD not in shown


def test_the_version_changes_with_the_secret_and_only_then(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path, {})
    versions = []
    for username, password in (("a", "b"), ("a", "b"), ("a", "c"), ("b", "b"), ("1 a", "b")):
        write(tmp_path, username, password)
        versions.append(secrets.get(REF).version)
    assert versions[0] == versions[1]
    assert len(set(versions)) == 4
    assert Secrets(None, VARIABLES).get(REF).version not in versions


def test_a_version_does_not_confuse_where_the_name_ends() -> None:
    def version(username: str, password: str) -> str:
        names = list(VARIABLES)
        return Secrets(None, {names[0]: username, names[1]: password}).get(REF).version

    assert version("ab", "c") != version("a", "bc")


def test_credentials_are_a_value() -> None:
    one = Credentials(username="a", password="b", version="1")
    assert one == Credentials(username="a", password="b", version="1")
    with pytest.raises(AttributeError):
        one.password = "c"  # type: ignore[misc]
