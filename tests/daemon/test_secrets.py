"""The providers of secrets are those of the settings, and age's are of the revision in force."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest

from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.reconcile import Reconciler
from metalwright.daemon.secrets import open_secrets, secret_text
from metalwright.drivers.credentials import Secrets, SecretsDownError
from metalwright.errors import SettingsError, TemporaryError
from metalwright.settings import Settings, load_settings

from .conftest import Rig

VARIABLES = {"METALWRIGHT_SECRET_A_USERNAME": "u", "METALWRIGHT_SECRET_A_PASSWORD": "variable"}


def settings(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "metalwright.toml"
    path.write_text(text)
    return load_settings(path)


def private(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def test_the_order_of_the_settings_decides(tmp_path: Path) -> None:
    private(tmp_path / "s/a/username", "u")
    private(tmp_path / "s/a/password", "file")
    text = 'secrets_dir = "s"\n'
    for order, password in (
        ("", "file"),
        ('["environment", "directory"]', "variable"),
        ('["environment"]', "variable"),
    ):
        chosen = f"{text}[secrets]\nproviders = {order}\n" if order else text
        secrets, age = open_secrets(settings(tmp_path, chosen), VARIABLES)
        assert secrets.get("a").password == password
        assert age is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[secrets]\nproviders = ["age"]', "identity_file is missing"),
        ('[secrets]\nproviders = ["vault"]', "address is missing"),
        ('[secrets]\nproviders = ["environment", "environment"]', "named twice"),
        (
            '[secrets]\nproviders = ["vault"]\nvault = {address = "http://vault.example.net"}',
            "should be https",
        ),
    ],
)
def test_a_provider_without_what_it_needs_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        open_secrets(settings(tmp_path, text), {})


class Sealed:
    """A provider that cannot be asked now."""

    name = "sealed"

    def find(self, _path: str, _parts: tuple[str, ...]) -> tuple[str, ...] | None:
        raise SecretsDownError("it is sealed")

    peek = find

    def place(self, path: str, _parts: tuple[str, ...]) -> str:
        return path


def test_a_template_is_told_whether_another_try_is_worth_it() -> None:
    with pytest.raises(TemporaryError, match=r"app/token.*sealed"):
        secret_text(Secrets(None, {}, [Sealed()]), "app/token")
    with pytest.raises(SettingsError, match="app/token"):
        secret_text(Secrets(None, {}), "app/token")


def test_files_of_the_settings_are_beside_the_settings(tmp_path: Path) -> None:
    text = '[secrets]\nage = {identity_file = "key"}\nvault = {token_file = "t", ca_file = "/c"}\n'
    found = settings(tmp_path, text).secrets
    assert found.age.identity_file == tmp_path / "key"
    assert (found.vault.token_file, found.vault.ca_file) == (tmp_path / "t", Path("/c"))


def test_age_secrets_are_those_of_the_revision_in_force(rig: Rig, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    key = private(tmp_path / "keys/key", str(identity))

    def sealed(password: str) -> str:
        text = f"a: {{username: u, password: {password}}}"
        return pyrage.encrypt(text.encode(), [identity.to_public()], armored=True).decode()

    (rig.inventory / "secrets").mkdir()
    rig.write("secrets/bmc.age", sealed("first"))
    rig.commit("a secret")
    chosen = rig.settings(secrets={"providers": ["age"], "age": {"identity_file": key}})
    with open_fleet(chosen, drive=False, wake=lambda: None) as fleet:
        reconciler, secrets = Reconciler(fleet), fleet.secrets
        assert isinstance(secrets, Secrets)
        reconciler.follow_head()
        assert secrets.get("a").password == "first"
        rig.write("secrets/bmc.age", sealed("second"))
        assert secrets.get("a").password == "first", "a work tree is nothing"
        rig.write("broken.yaml", "kind: [")
        rig.commit("a new secret, and a mistake")
        reconciler.follow_head()
        assert secrets.get("a").password == "first", "a refused revision is not in force"
        (rig.inventory / "broken.yaml").unlink()
        rig.commit("mended")
        reconciler.follow_head()
        assert secrets.get("a").password == "second"
