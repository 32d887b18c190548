"""Secrets in the repository: opened with our identity only, of the revision in force, unseen."""

from __future__ import annotations

import os
import shutil
import subprocess
import traceback
from pathlib import Path

import pyrage
import pytest

from metalwright.drivers.credentials import Secrets, look_up
from metalwright.drivers.secrets_age import AgeSecrets
from metalwright.errors import PermanentError, SettingsError, TemporaryError

REF, PASSWORD = "bmc/rack-a", "canary-pa55"
TEXT = f"""\
bmc/rack-a: {{username: admin, password: {PASSWORD}}}
bmc/odd:
  username: on
  password: 0123
os/key: |
  canary line 1
  canary line 2
"""


class Keys:
    """An identity in a private file, and what is encrypted for it."""

    def __init__(self, directory: Path) -> None:
        self.identity = pyrage.x25519.Identity.generate()
        self.path = directory / "identity.txt"
        self.path.touch(mode=0o600)
        self.path.write_text(f"# created: today\n# public key: x\n{self.identity}\n")

    def sealed(self, text: str | bytes, **more: bool) -> bytes:
        raw = text.encode() if isinstance(text, str) else text
        return pyrage.encrypt(raw, [self.identity.to_public()], **more)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def opened(keys: Keys, text: str | bytes = TEXT) -> Secrets:
    provider = AgeSecrets(keys.path)
    provider.take({"secrets/bmc.age": keys.sealed(text)})
    return Secrets(None, {}, [provider])


def refused(secrets: Secrets, ref: str = REF) -> str:
    """The error, which shows neither a secret nor the key, nor does its whole traceback."""
    with pytest.raises(SettingsError) as caught:
        secrets.get(ref)
    told = "".join(traceback.format_exception(caught.value))
    assert "canary" not in told
    assert "AGE-SECRET-KEY-1" not in told
    assert ref in str(caught.value)
    return str(caught.value)


def test_credentials_and_values_are_taken_as_they_are_written(keys: Keys) -> None:
    secrets = opened(keys)
    assert (secrets.get(REF).username, secrets.get(REF).password) == ("admin", PASSWORD)
    assert (secrets.get("bmc/odd").username, secrets.get("bmc/odd").password) == ("on", "0123")
    assert secrets.value("age:os/key").value == "canary line 1\ncanary line 2"
    assert "canary" not in repr((secrets, vars(secrets), secrets.value("os/key")))


def test_armoured_files_and_many_of_them_are_read(keys: Keys) -> None:
    provider = AgeSecrets(keys.path)
    provider.take(
        {
            "secrets/a.age": keys.sealed("a: {username: u, password: p}", armored=True),
            "secrets/b.age": keys.sealed("b: {username: u, password: q}"),
        }
    )
    secrets = Secrets(None, {}, [provider])
    assert (secrets.get("a").password, secrets.get("b").password) == ("p", "q")


def test_another_revision_has_other_secrets_and_before_the_first_nothing_is_known(
    keys: Keys,
) -> None:
    provider = AgeSecrets(keys.path)
    secrets = Secrets(None, {}, [provider])
    with pytest.raises(TemporaryError, match="no revision"):
        look_up(secrets, REF)
    provider.take({"secrets/bmc.age": keys.sealed(TEXT)})
    first = secrets.get(REF)
    provider.take({"secrets/bmc.age": keys.sealed(TEXT)})
    assert secrets.get(REF).version == first.version == secrets.version(REF)
    provider.take({"secrets/bmc.age": keys.sealed(TEXT.replace(PASSWORD, "rotated"))})
    assert secrets.get(REF).password == "rotated"
    provider.take({})
    assert "of the revision in force" in refused(secrets)


def test_a_file_for_somebody_else_or_a_damaged_one_is_told_and_hides_no_other(
    keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger, whole = Keys(tmp_path / "other"), keys.sealed(TEXT)
    provider = AgeSecrets(keys.path)
    secrets = Secrets(None, {}, [provider])
    provider.take({"secrets/a.age": whole, "secrets/b.age": stranger.sealed("x: y")})
    assert secrets.get(REF).password == PASSWORD
    with pytest.raises(PermanentError, match=r"secrets/b\.age.*not for our identity"):
        look_up(secrets, "bmc/b")
    for damaged in (whole[:-7], whole[:90], b"", b"age-encryption.org/v1\n"):
        provider.take({"secrets/a.age": damaged})
        assert "damaged" in refused(secrets)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- canary\n", "line 1"),
        ("bmc/rack-a: [canary]\n", "line 1"),
        ("bmc/rack-a:\n  username: admin\n  password: {canary: 1}\n", "line 3"),
        ("bmc/rack-a:\n  user: admin\n  password: canary\n", "line 2"),
        ("bmc/rack-a: canary\nbmc/rack-a: canary\n", "two entries"),
        ("bmc/rack-a: 'canary\n", "not YAML (line"),
        ("bmc/rack-a: !!python/object:os.system canary: x\n", "not YAML"),
        ("", "should map"),
        (b"\xff\xfecanary", "not UTF-8"),
        ("[" * 5_000, "YAML"),
        ("bmc/rack-a: {username: admin}\n", "no password"),
        ("bmc/rack-a: {username: admin, password: ''}\n", "one line"),
        ("bmc/rack-a: {username: admin, password: 'canary\n\n  b'}\n", "one line"),
        ("bmc/rack-a: canary\n", "no username"),
    ],
)
def test_what_is_no_mapping_of_secrets_is_told_with_its_line(
    keys: Keys, text: str | bytes, words: str
) -> None:
    told = refused(opened(keys, text))
    assert words in told or "nested" in told
    assert "(age)" in told


def test_two_files_with_one_reference_are_told(keys: Keys) -> None:
    provider = AgeSecrets(keys.path)
    provider.take({"secrets/a.age": keys.sealed(TEXT), "secrets/b.age": keys.sealed(TEXT)})
    secrets = Secrets(None, {}, [provider])
    assert secrets.get(REF).password == PASSWORD
    assert "another file has already" in refused(secrets, "bmc/none")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_an_identity_that_others_can_read_is_refused(keys: Keys, mode: int) -> None:
    secrets = opened(keys)
    keys.path.chmod(mode)
    assert f"{mode:04o}" in refused(secrets)
    keys.path.chmod(0o400)
    assert secrets.get(REF).password == PASSWORD


def test_an_identity_that_is_none_is_refused(keys: Keys) -> None:
    secrets = opened(keys)
    for content in ("", "# nothing\n", "AGE-SECRET-KEY-1canary\n", "-----BEGIN canary", "\u00e4"):
        keys.path.write_text(content)
        assert "AGE-SECRET-KEY lines" in refused(secrets)
    keys.path.unlink()
    assert "there is no file" in refused(secrets)


def test_a_new_identity_is_used_at_once(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = Keys(tmp_path / "new")
    provider = AgeSecrets(keys.path)
    both = [keys.identity.to_public(), new.identity.to_public()]
    provider.take({"secrets/bmc.age": pyrage.encrypt(TEXT.encode(), both)})
    secrets = Secrets(None, {}, [provider])
    assert secrets.get(REF).password == PASSWORD
    keys.path.write_text(f"{new.identity}\n")
    assert secrets.get(REF).password == PASSWORD


def require(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{' and '.join(missing)} should be installed in CI")
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")


@pytest.mark.live
def test_the_age_program_of_the_operator_makes_what_we_read(tmp_path: Path) -> None:
    """age and age-keygen are another implementation (Go) than ours (Rust)."""
    require("age", "age-keygen")
    identity = tmp_path / "key.txt"
    made = subprocess.run(
        ["age-keygen", "-o", str(identity)], capture_output=True, text=True, check=True
    )
    recipient = made.stderr.split()[-1]
    for options in ([], ["-a"]):
        sealed = subprocess.run(
            ["age", "-r", recipient, *options],
            input=TEXT.encode(),
            capture_output=True,
            check=True,
        ).stdout
        provider = AgeSecrets(identity)
        provider.take({"secrets/bmc.age": sealed})
        assert Secrets(None, {}, [provider]).get(REF).password == PASSWORD


@pytest.mark.live
def test_an_ssh_key_opens_what_was_encrypted_for_it(tmp_path: Path) -> None:
    require("age", "ssh-keygen")
    identity = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(identity)], check=True)
    sealed = subprocess.run(
        ["age", "-R", f"{identity}.pub"], input=TEXT.encode(), capture_output=True, check=True
    ).stdout
    provider = AgeSecrets(identity)
    provider.take({"secrets/bmc.age": sealed})
    assert Secrets(None, {}, [provider]).get(REF).password == PASSWORD
