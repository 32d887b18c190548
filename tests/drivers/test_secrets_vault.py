"""Vault: what it has is used, for how long, and what it says when it has not; never a token."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.drivers.vault_server import VaultServer

from metalwright.drivers.credentials import Secrets, look_up
from metalwright.drivers.secrets_values import SecretsDownError
from metalwright.drivers.secrets_vault import TROUBLE_KEPT_S, VaultSecrets
from metalwright.drivers.secrets_vault_api import LOGIN_PAUSE_S, VaultAccess
from metalwright.errors import PermanentError, SettingsError, TemporaryError

REF, TOKEN, PASSWORD = "bmc/rack-a", "hvs.canary-token", "canary-pa55"
CANARIES = (TOKEN, PASSWORD, "canary")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    with VaultServer() as running:
        running.tokens[TOKEN] = None
        running.put(REF, username="admin", password=PASSWORD)
        yield running


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def opened(vault: VaultServer, tmp_path: Path, clock: Clock | None = None, **more: object):
    access = {"token_file": private(tmp_path / "token", TOKEN + "\n"), "timeout_s": 2.0} | more
    provider = VaultSecrets(
        VaultAccess(address=vault.address, **access),  # type: ignore[arg-type]
        monotonic=clock or Clock(),
    )
    return Secrets(None, {}, [provider])


def refused(secrets: Secrets, ref: str = REF) -> SettingsError:
    """The error, which shows neither a secret nor a token, nor does its whole traceback."""
    with pytest.raises(SettingsError) as caught:
        secrets.get(ref)
    told = "".join(traceback.format_exception(caught.value))
    assert not [canary for canary in CANARIES if canary in told]
    assert ref in str(caught.value)
    return caught.value


def test_a_secret_and_a_value_are_read(vault: VaultServer, tmp_path: Path) -> None:
    secrets = opened(vault, tmp_path)
    assert secrets.get(REF).password == PASSWORD
    assert secrets.get(f"vault:{REF}") == secrets.get(REF)
    vault.put("os/key", value="line 1\nline 2\n")
    assert secrets.value("os/key").value == "line 1\nline 2"
    vault.put("team/bmc/b", username="u", password="p")
    assert opened(vault, tmp_path, prefix="/team/").get("bmc/b").password == "p"


def test_a_hundred_questions_are_one_request_until_the_time_is_over(
    vault: VaultServer, tmp_path: Path
) -> None:
    clock = Clock()
    secrets = opened(vault, tmp_path, clock, cache_s=30)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: secrets.get(REF), range(100)))
    assert len({each.version for each in found}) == 1
    assert len(vault.requests) == 1
    vault.put(REF, username="admin", password="rotated")
    assert secrets.get(REF).password == PASSWORD
    clock.now += 30
    assert secrets.get(REF).password == "rotated"
    assert len(vault.requests) == 2


def test_the_version_is_told_without_waiting_and_follows(
    vault: VaultServer, tmp_path: Path
) -> None:
    clock = Clock()
    secrets = opened(vault, tmp_path, clock)
    vault.delay_s = 0.2
    assert secrets.version(REF) == ""  # and it is being asked for
    first = secrets.get(REF).version
    assert secrets.version(REF) == first
    vault.put(REF, username="admin", password="rotated")
    clock.now += 60
    assert secrets.version(REF) == first
    assert secrets.get(REF).version == secrets.version(REF) != first


def test_what_is_not_there_is_told_with_its_place(vault: VaultServer, tmp_path: Path) -> None:
    secrets = opened(vault, tmp_path)
    assert "secret/bmc/none in Vault" in str(refused(secrets, "bmc/none"))
    vault.put(REF)  # its newest version deleted
    assert "neither" in str(refused(secrets))
    vault.put("bmc/half", username="admin")
    assert "no password" in str(refused(secrets, "bmc/half"))
    vault.put("bmc/number", username="admin", password=17)
    assert "no password" in str(refused(secrets, "bmc/number"))


def test_a_refusal_is_permanent_and_no_old_answer_hides_it(
    vault: VaultServer, tmp_path: Path
) -> None:
    clock = Clock()
    secrets = opened(vault, tmp_path, clock)
    secrets.get(REF)
    vault.tokens.clear()
    clock.now += 60
    assert "refuses" in str(refused(secrets))
    with pytest.raises(PermanentError):
        look_up(secrets, REF)
    before = len(vault.requests)
    refused(secrets)
    assert len(vault.requests) == before, "not asked again at once"
    vault.tokens[TOKEN] = None
    clock.now += TROUBLE_KEPT_S
    assert secrets.get(REF).password == PASSWORD


def test_an_outage_is_bridged_for_a_bounded_time(vault: VaultServer, tmp_path: Path) -> None:
    clock = Clock()
    secrets = opened(vault, tmp_path, clock, outage_s=600)
    secrets.get(REF)
    vault.sealed = True
    clock.now += 599
    assert secrets.get(REF).password == PASSWORD
    assert secrets.get(REF).password == PASSWORD
    assert len(vault.requests) == 2, "nor is it asked again and again while it is down"
    with pytest.raises(TemporaryError):
        look_up(secrets, "bmc/never-seen")
    clock.now += 2
    with pytest.raises(SecretsDownError, match="VaultDown"):
        secrets.get(REF)
    vault.sealed = False
    clock.now += TROUBLE_KEPT_S
    assert secrets.get(REF).password == PASSWORD


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, b'{"errors": ["canary"]}', {"Content-Type": "application/json"}), "Internal"),
        ((429, b"canary", {}), "RateLimit"),
        ((200, b"canary <html>", {}), "does not answer as Vault"),
        ((200, b'["canary"]', {"Content-Type": "application/json"}), "does not answer as Vault"),
        ((200, b'{"data": "canary"}', {"Content-Type": "application/json"}), "as Vault does"),
        ((307, b"", {"Location": "http://127.0.0.1:9/canary"}), "does not answer as Vault"),
    ],
)
def test_what_is_no_answer_of_vault_is_temporary(
    vault: VaultServer, tmp_path: Path, answer: tuple, words: str
) -> None:
    vault.answer = answer
    error = refused(opened(vault, tmp_path))
    assert isinstance(error, SecretsDownError)
    assert words in str(error)
    assert len(vault.requests) == 1


def test_silence_and_nobody_there_end_in_time(vault: VaultServer, tmp_path: Path) -> None:
    vault.delay_s = 1.0
    assert "in time" in str(refused(opened(vault, tmp_path, timeout_s=0.2)))
    nowhere = VaultAccess(address="http://127.0.0.1:9", token_file=tmp_path / "token")
    assert "was not reached" in str(refused(Secrets(None, {}, [VaultSecrets(nowhere)])))


def test_an_approle_logs_in_once_and_again_when_its_lease_ends(
    vault: VaultServer, tmp_path: Path
) -> None:
    clock = Clock()
    secret_id = private(tmp_path / "secret-id", vault.role[1])
    role = {"token_file": None, "role_id": "role-1", "secret_id_file": secret_id}
    vault.lease_s = 1_000
    secrets = opened(vault, tmp_path, clock, **role)
    for _ in range(3):
        assert secrets.get(REF).password == PASSWORD
        clock.now += 60
    assert vault.logins == 1
    clock.now += 800
    secrets.get(REF)
    assert vault.logins == 2
    vault.tokens.clear()  # revoked: one new login, at once
    clock.now += 60
    assert secrets.get(REF).password == PASSWORD
    assert vault.logins == 3


def test_a_refused_login_is_not_repeated_until_its_secret_id_changes(
    vault: VaultServer, tmp_path: Path
) -> None:
    clock = Clock()
    secret_id = private(tmp_path / "secret-id", "canary-wrong")
    role = {"token_file": None, "role_id": "role-1", "secret_id_file": secret_id}
    secrets = opened(vault, tmp_path, clock, **role)
    for _ in range(5):
        assert "refuses the login" in str(refused(secrets))
        clock.now += TROUBLE_KEPT_S
    assert vault.logins == 1
    clock.now += LOGIN_PAUSE_S
    refused(secrets)
    assert vault.logins == 2
    private(secret_id, vault.role[1])
    clock.now += TROUBLE_KEPT_S
    assert secrets.get(REF).password == PASSWORD


def test_a_token_that_others_can_read_is_refused(vault: VaultServer, tmp_path: Path) -> None:
    secrets = opened(vault, tmp_path)
    (tmp_path / "token").chmod(0o644)
    assert "0644" in str(refused(secrets))
    (tmp_path / "token").unlink()
    assert "there is no file" in str(refused(secrets))
    assert vault.requests == []


def test_a_namespace_is_sent(vault: VaultServer, tmp_path: Path) -> None:
    vault.namespace = "team-a"
    refused(opened(vault, tmp_path))
    assert opened(vault, tmp_path, namespace="team-a").get(REF).password == PASSWORD


def test_the_certificate_is_checked_against_the_ca_of_the_settings(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path / "vault.pem")
    with VaultServer(certificate) as vault:
        vault.tokens[TOKEN] = None
        vault.put(REF, username="admin", password=PASSWORD)
        assert "not trusted" in str(refused(opened(vault, tmp_path)))
        assert vault.requests == []
        assert opened(vault, tmp_path, ca_file=certificate).get(REF).password == PASSWORD


def self_signed(path: Path) -> Path:
    """A key and a certificate for 127.0.0.1, in one file."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


@pytest.mark.parametrize(
    "access",
    [
        {"address": "http://vault.example.net:8200", "token_file": Path("t")},
        {"address": "https://user:canary@vault.example.net", "token_file": Path("t")},
        {"address": "vault.example.net", "token_file": Path("t")},
        {"address": "https://v.example.net"},
        {"address": "https://v.example.net", "role_id": "r"},
        {"address": "https://v.example.net", "role_id": "r", "token_file": Path("t")},
    ],
)
def test_settings_that_cannot_work_or_would_show_the_token_are_refused(access: dict) -> None:
    with pytest.raises(SettingsError) as caught:
        VaultSecrets(VaultAccess(**access))
    assert "canary" not in str(caught.value)
