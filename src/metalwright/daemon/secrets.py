"""The providers of secrets of an installation, in the order of its settings.

It says where secrets are, and hands encrypted files on; no value is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping

from metalwright.drivers.credentials import Secrets, SecretsDownError
from metalwright.drivers.secrets_age import AgeSecrets
from metalwright.drivers.secrets_local import DirectorySecrets, EnvironmentSecrets
from metalwright.drivers.secrets_values import Provider
from metalwright.drivers.secrets_vault import VaultSecrets
from metalwright.drivers.secrets_vault_api import VaultAccess
from metalwright.errors import SettingsError, TemporaryError
from metalwright.settings import Settings


def open_secrets(
    settings: Settings, environment: Mapping[str, str]
) -> tuple[Secrets, AgeSecrets | None]:
    """Every provider of the settings, and among them the one that reads the repository's files.

    Nothing is read or asked yet.

    Raises:
        SettingsError: a provider lacks what it needs, or is named twice.
    """
    names = settings.secrets.providers
    if len(set(names)) < len(names):
        raise SettingsError("secrets.providers: one is named twice")
    age = _age(settings) if "age" in names else None
    providers: list[Provider] = []
    for name in names:
        if name == "directory" and settings.secrets_dir is not None:
            providers.append(DirectorySecrets(settings.secrets_dir))
        elif name == "environment":
            providers.append(EnvironmentSecrets(environment))
        elif name == "vault":
            providers.append(_vault(settings))
        elif age is not None and name == "age":
            providers.append(age)
    return Secrets(None, {}, providers), age


def secret_text(secrets: Secrets, reference: str) -> str:
    """The value that a template names.

    Raises:
        TemporaryError: a provider cannot be asked now.
        SettingsError: there is no usable secret of that name.
    """
    try:
        return secrets.value(reference).value
    except SecretsDownError as error:
        raise TemporaryError(str(error)) from error


def _age(settings: Settings) -> AgeSecrets:
    if settings.secrets.age.identity_file is None:
        raise SettingsError("secrets.providers has age: secrets.age.identity_file is missing")
    return AgeSecrets(settings.secrets.age.identity_file, settings.secrets.age.path.rstrip("/"))


def _vault(settings: Settings) -> VaultSecrets:
    vault = settings.secrets.vault
    if vault.address is None:
        raise SettingsError("secrets.providers has vault: secrets.vault.address is missing")
    return VaultSecrets(VaultAccess(**vault.model_dump()))
