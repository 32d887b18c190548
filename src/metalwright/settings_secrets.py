"""The settings of secrets: which providers there are, and where each keeps them. Never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

RepositoryPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_./-]*$", max_length=256)]
ProviderName = Literal["directory", "environment", "age", "vault"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AgeSettings(_Section):
    """The encrypted files of the repository, and the file that opens them."""

    path: RepositoryPath = "secrets"
    identity_file: Path | None = None


class VaultSettings(_Section):
    """Where Vault is, how to log in, and for how long its answers count (seconds)."""

    address: str | None = None
    mount: str = "secret"
    prefix: str = ""
    namespace: str | None = None
    token_file: Path | None = None
    role_id: str | None = None
    secret_id_file: Path | None = None
    approle_mount: str = "approle"
    ca_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    cache_s: Annotated[float, Field(ge=0, le=3_600)] = 30.0
    outage_s: Annotated[float, Field(ge=0, le=86_400)] = 900.0


class SecretsSettings(_Section):
    """Which providers of secrets are asked, in this order."""

    providers: tuple[ProviderName, ...] = ("directory", "environment")
    age: AgeSettings = AgeSettings()
    vault: VaultSettings = VaultSettings()
