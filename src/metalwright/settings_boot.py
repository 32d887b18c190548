"""The settings of the boot service, `[boot]`. Without `listen` there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=604_800)]
Rate = Annotated[float, Field(gt=0, le=100_000)]
Bytes = Annotated[int, Field(ge=1_000_000)]
Listen = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}$")]
BaseUrl = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+$", max_length=200)]


class BootSettings(BaseModel):
    """Where machines find the boot service, and what it may use.

    `listen` is `ADDRESS:PORT` (an IPv6 address in brackets); `url` is what machines are told, by
    default `http://` and `listen`. `media` is the boot disc that BMCs show to machines (made by
    `mw boot-media`), `media_url` the service's address as BMCs see it, by default `url`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Listen | None = None
    url: BaseUrl | None = None
    media: Path | None = None
    media_url: BaseUrl | None = None
    cache_dir: Path | None = None
    cache_bytes_max: Bytes = 50_000_000_000
    artifact_bytes_max: Bytes = 20_000_000_000
    download_timeout_s: Seconds = 3_600.0
    body_bytes_max: Annotated[int, Field(ge=1_024, le=16_777_216)] = 262_144
    request_timeout_s: Seconds = 15.0
    connections_max: Annotated[int, Field(ge=4, le=10_000)] = 512
    requests_per_s_max: Rate = 100.0
    unknown_per_s_max: Rate = 10.0
    refusals_per_hour_max: Annotated[int, Field(ge=1, le=10_000)] = 20
    token_life_s: Seconds = 86_400.0
