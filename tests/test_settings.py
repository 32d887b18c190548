"""Settings: file under environment under options, every mistake named at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.errors import SettingsError
from metalwright.settings import (
    RELOADABLE,
    Settings,
    changes,
    find_file,
    load_settings,
    unknown_variables,
)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    kept = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("METALWRIGHT_")}
    yield
    for key in list(os.environ):
        if key.startswith("METALWRIGHT_"):
            del os.environ[key]
    os.environ.update(kept)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "metalwright.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, 'repository = "inv"\nstate_dir = "state"\nsecrets_dir = "/etc/s"\n')
    settings = load_settings(path)
    assert settings.repository == str(tmp_path / "inv")
    assert settings.state_dir == tmp_path / "state"
    assert settings.secrets_dir == Path("/etc/s")
    assert settings.store == f"sqlite:///{tmp_path}/state/metalwright.sqlite"


def test_every_setting_that_is_a_path_is_relative_to_the_file(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        """
        [boot]
        media = "boot.iso"
        cache_dir = "/var/cache/mw"
        [secrets.vault]
        ca_file = "vault.pem"
        [drivers.redfish]
        ca_file = "bmc.pem"
        [drivers.ironic]
        clouds_file = "clouds.yaml"
        [drivers.strange]
        state_dir = "its own"
        """,
    )
    settings = load_settings(path)
    assert settings.boot.media == tmp_path / "boot.iso"
    assert settings.boot.cache_dir == Path("/var/cache/mw")
    assert settings.secrets.vault.ca_file == tmp_path / "vault.pem"
    assert settings.drivers.redfish.ca_file == tmp_path / "bmc.pem"
    assert settings.drivers.ironic.clouds_file == tmp_path / "clouds.yaml"
    assert (settings.drivers.model_extra or {})["strange"] == {"state_dir": "its own"}


@pytest.mark.parametrize("url", ["https://git.example.net/i.git", "git@git.example.net:lab/i.git"])
def test_urls_are_left_alone(tmp_path: Path, url: str) -> None:
    assert load_settings(_file(tmp_path, f'repository = "{url}"\n')).repository == url


def test_environment_wins_over_file_and_options_over_both(tmp_path: Path) -> None:
    path = _file(tmp_path, 'branch = "file"\n[observe]\ninterval_s = 3\ntimeout_s = 4\n')
    os.environ["METALWRIGHT_OBSERVE__INTERVAL_S"] = "5"
    os.environ["METALWRIGHT_BRANCH"] = "environment"
    settings = load_settings(path)
    assert (settings.branch, settings.observe.interval_s, settings.observe.timeout_s) == (
        "environment",
        5.0,
        4.0,
    )
    assert load_settings(path, branch="option", repository=None).branch == "option"


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    path = _file(tmp_path, 'repo = "x"\n[observe]\ninterval_s = "soon"\nin_flight_max = 0\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    text = str(caught.value)
    assert f"{path}: repo: there is no such setting" in text
    assert "observe.interval_s" in text
    assert "'soon'" in text
    assert "observe.in_flight_max" in text


@pytest.mark.parametrize(
    ("content", "message"), [(b"a = \n", "is not TOML"), (b"\xff\xfe", "is not TOML")]
)
def test_unreadable_files_are_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "metalwright.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        load_settings(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "absent.toml")


def test_a_broken_variable_is_told(tmp_path: Path) -> None:
    os.environ["METALWRIGHT_OBSERVE"] = "{"
    with pytest.raises(SettingsError, match="observe"):
        load_settings(_file(tmp_path, ""))


def test_the_file_is_found(tmp_path: Path) -> None:
    assert find_file({"METALWRIGHT_CONFIG": str(tmp_path / "x.toml")}) == tmp_path / "x.toml"


def test_what_can_be_reloaded_is_told_apart() -> None:
    old = Settings()
    new = old.model_copy(
        update={"poll_interval_s": 1.0, "branch": "other", "cycle_interval_s": 2.0}
    )
    assert changes(old, new) == (("poll_interval_s", "cycle_interval_s"), ("branch",))
    assert set(Settings.model_fields) >= RELOADABLE


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("METALWRIGHT_BRNCH", "METALWRIGHT_BRANCH"),
        ("METALWRIGHT_OBSERVE__INTERVALL_S", "METALWRIGHT_OBSERVE__INTERVAL_S"),
        ("METALWRIGHT_OBSERVE_INTERVAL_S", "METALWRIGHT_OBSERVE__INTERVAL_S"),
        ("METALWRIGHT_DRIVERS__IPMI__WORKERS", "METALWRIGHT_DRIVERS__IPMI__WORKERS_MAX"),
        ("METALWRIGHT_SECRET_DIR", "METALWRIGHT_SECRETS_DIR"),
        ("METALWRIGHT_CONF", "METALWRIGHT_CONFIG"),
        ("metalwright_state", "METALWRIGHT_STATE_DIR"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_names_the_nearest(wrong: str, right: str) -> None:
    os.environ[wrong] = "hunter-2"
    try:
        with pytest.raises(SettingsError) as caught:
            load_settings(None)
    finally:
        del os.environ[wrong]
    assert str(caught.value) == f"{wrong}: there is no such setting; the nearest one is {right}"


def test_a_driver_that_is_installed_beside_ours_has_a_table_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metalwright.toml"
    file.write_text(
        '[drivers.acme]\nurl = "http://a"\nretries = 3\n[drivers.ipmi]\nworkers_max = 4\n'
    )
    monkeypatch.setenv("METALWRIGHT_DRIVERS__ACME__URL", "http://b")
    monkeypatch.setenv("METALWRIGHT_DRIVERS__OTHER__KEY", "x")
    tables = load_settings(file).drivers.model_dump()
    assert tables["acme"] == {"url": "http://b", "retries": 3}
    assert tables["other"] == {"key": "x"}
    assert tables["ipmi"]["workers_max"] == 4


def test_a_table_of_a_driver_is_a_table(tmp_path: Path) -> None:
    file = tmp_path / "metalwright.toml"
    file.write_text("[drivers]\nacme = 7\n")
    with pytest.raises(SettingsError, match=r"drivers\.acme"):
        load_settings(file)


def test_every_misspelt_variable_is_named_at_once() -> None:
    environment = {"METALWRIGHT_BRNCH": "x", "METALWRIGHT_LOG__LEVL": "y", "PATH": "/bin"}
    assert len(unknown_variables(environment)) == 2


def test_variables_that_are_ours_are_no_strangers() -> None:
    names = ["CONFIG", "BRANCH", "LOG", "LOG__LEVEL", "DRIVERS__FAKE__SPEED", "SECRETS_DIR"]
    names += ["SECRET_BMC_RACK_A_USERNAME", "SECRET_BMC_RACK_A_PASSWORD"]
    names += ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP"]
    names += ["PORT_8080_TCP_ADDR", "PORT_8080_TCP_PROTO", "WEB_SERVICE_HOST", "WEB_PORT"]
    assert unknown_variables({f"METALWRIGHT_{name}": "" for name in names}) == ()
    assert unknown_variables({"metalwright_branch": "", "METALWRIGHT": "", "HOME": ""}) == ()


def test_what_may_be_a_secret_is_not_shown(tmp_path: Path) -> None:
    for line in (
        'vault_tokn = "canary"',
        '[secrets.vault]\ntimeout_s = "canary"',
        '[drivers.ipmi]\npasswd = "canary"',
        'secrets_dir = ["canary"]',
    ):
        with pytest.raises(SettingsError) as caught:
            load_settings(_file(tmp_path, line + "\n"))
        assert "canary" not in str(caught.value)
    with pytest.raises(SettingsError, match="got 'canary'"):
        load_settings(_file(tmp_path, 'poll_interval_s = "canary"\n'))
